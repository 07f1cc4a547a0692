"""Several checkpoints: what is left to do of each, and how similar they are, two and two."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from topotune.analysis.analyses import ANALYSES, Settings, chosen
from topotune.analysis.measure import AnalysisJob, about, numbers
from topotune.analysis.positions import layers_of, views_of
from topotune.analysis.responses import open_subject
from topotune.analysis.similarity import Signature, signature, similarity
from topotune.analysis.table import AnalysisTable, pair_of
from topotune.config import NONE, TrialConfig
from topotune.data.splits import load_split
from topotune.errors import InputError
from topotune.files import Row
from topotune.load import weights_hash
from topotune.topography import arrangement_of
from topotune.training.checkpoint import load_config


@dataclass(frozen=True)
class Asked:
    """What is asked of the models.

    names: of analyses; none for all that suit. layers: as the setting of a trial has them; empty for a trial's own.
    organisations: whose positions controls are looked at; none for those that the models are compared with.
    """

    names: tuple[str, ...] = ()
    layers: str = ""
    organisations: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Model:
    """One checkpoint: what of it is studied, and on which positions. weights: their checksum."""

    checkpoint: Path
    config: TrialConfig
    weights: str
    names: tuple[str, ...]
    layers: tuple[str, ...]
    views: tuple[str, ...]

    @property
    def single(self) -> tuple[str, ...]:
        """The analyses that need no other model."""
        return tuple(name for name in self.names if not ANALYSES[name].pairs)


def models_of(
    checkpoints: Sequence[Path], asked: Asked, data: Path | None, compared: Sequence[str] = (), download: bool = False
) -> list[Model]:
    """What is to be done in all.

    Args:
        checkpoints: folders.
        asked: of all of them.
        data: the folder of the data sets.
        compared: topographies that the checkpoints' study compares, beside their own.
        download: whether to fetch a data set that is not there.

    Raises:
        InputError: a checkpoint or its data are missing, a name is unknown, an analysis does not suit the data, or
            nothing says where the units of a control would sit.
    """
    configs = [load_config(path) for path in checkpoints]
    others = [config for config in configs if config.topography != NONE]
    topographies = [one for one in (*(one.topography for one in others), *compared) if one != NONE]
    organisations = asked.organisations or tuple(dict.fromkeys(arrangement_of(one)[0] for one in topographies))
    if len(others) < len(configs) and not organisations:
        first = checkpoints[[config.topography for config in configs].index(NONE)]
        raise InputError(
            f"{first} is a control, which has no positions: name an organisation with --topography (grid2d, …), or "
            "give a topographic checkpoint beside it"
        )
    if asked.organisations and len(others) == len(configs):
        raise InputError("--topography: is for controls, and there is none among these; the others have positions")
    found = []
    for path, config in zip(checkpoints, configs, strict=True):
        pictures = load_split(config.dataset, "test", data, download).clips is None
        layers = _layers(config, others, asked.layers)
        views = views_of(config, organisations)
        names = chosen(asked.names, pictures, config.dataset)
        found.append(Model(path, config, weights_hash(path), names, layers, views))
    return found


def _layers(config: TrialConfig, others: Sequence[TrialConfig], layers: str) -> tuple[str, ...]:
    """A control is studied in the layers of those that it is compared with: its own setting may be no one's."""
    same = [one for one in others if one.model == config.model]
    if layers or config.topography != NONE or not same:
        return layers_of(config, layers)
    return tuple(dict.fromkeys(name for one in same for name in layers_of(one)))


def jobs_of(models: Sequence[Model], table: AnalysisTable, settings: Settings, data: Path | None) -> list[AnalysisJob]:
    """What is not in the table yet, a job a model."""
    return [
        AnalysisJob(one.checkpoint, one.weights, data, left, one.layers, one.views, settings)
        for one in models
        if (left := table.missing(one.weights, one.single, one.layers, one.views))
    ]


def compare_models(
    models: Sequence[Model], table: AnalysisTable, settings: Settings, data: Path | None
) -> Iterator[Row]:
    """Rows of how similar each two models of a data set are in the layers that both have, one from either's side; those
    that the table lacks.

    Of each model, responses to 500 images at most are in memory.
    """
    pairs = [
        (one, other, layer)
        for one, other in combinations(models, 2)
        if one.config.dataset == other.config.dataset
        for layer in one.layers
        if layer in other.layers and "similarity" in one.names
    ]
    words = settings.words
    there = {pair_of(row) for row in table.rows if row["other"] is not None and row["settings"] == words}
    signatures: dict[Path, dict[str, Signature]] = {}
    for one, other, layer in pairs:
        if (frozenset((one.weights, other.weights)), layer) in there:
            continue
        for model in (one, other):
            if model.checkpoint not in signatures:
                subject = open_subject(model.checkpoint, data, model.layers, settings)
                signatures[model.checkpoint] = {
                    name: signature(subject.responses("images", name)) for name in model.layers
                }
        for measure in similarity(signatures[one.checkpoint][layer], signatures[other.checkpoint][layer]):
            where = {"layer": layer, "positions": None, "analysis": "similarity"}
            for own, its in ((one, other), (other, one)):
                yield about(own.config, own.weights, settings) | where | numbers(measure) | {"other": its.weights}
