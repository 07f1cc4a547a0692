"""All analyses of one checkpoint: rows of analysis.csv, and maps."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from topotune.analysis.analyses import ANALYSES, Settings, chosen
from topotune.analysis.positions import places_of
from topotune.analysis.responses import Subject, open_subject
from topotune.analysis.units import Array, Measure
from topotune.config import NONE, TrialConfig
from topotune.files import Row


@dataclass(frozen=True)
class AnalysisJob:
    """One checkpoint and what shall be found of it.

    weights: their checksum. names: of analyses. layers: names. views: those of ``views_of``.
    """

    checkpoint: Path
    weights: str
    data: Path | None
    names: tuple[str, ...]
    layers: tuple[str, ...]
    views: tuple[str, ...]
    settings: Settings


@dataclass
class Outcome:
    """What was found of one checkpoint. maps: ``layer/name`` -> array, as ``files`` writes them."""

    config: TrialConfig
    rows: list[Row] = field(default_factory=list)
    maps: dict[str, Array] = field(default_factory=dict)


def analyse_one(job: AnalysisJob) -> Outcome:
    """Every analysis of every layer of one checkpoint, on each of its positions.

    Raises:
        InputError: the checkpoint or its data are missing or damaged, or an analysis does not suit them.
    """
    subject = open_subject(job.checkpoint, job.data, job.layers, job.settings)
    chosen(job.names, subject.split.clips is None, subject.config.dataset)
    outcome = Outcome(subject.config)
    for layer in job.layers:
        outcome.rows.extend(_of_layer(subject, layer, job, outcome.maps))
    return outcome


def _of_layer(subject: Subject, layer: str, job: AnalysisJob, maps: dict[str, Array]) -> Iterator[Row]:
    units, seen = subject.units(layer), set[str]()
    for view in job.views:
        places = places_of(subject, layer, view, job.checkpoint)
        maps[f"{layer}/positions/{view}"] = places.positions
        for name in job.names:
            entry = ANALYSES[name]
            if not entry.spatial and name in seen:
                continue
            found = entry.resolve()(units, places)
            maps |= {f"{layer}/{map_name}": array for map_name, array in found.maps.items()}
            for measure in found.measures:
                if measure.chance or name not in seen:  # what does not depend on positions is told once
                    where = {"layer": layer, "positions": view if measure.chance else None, "analysis": name}
                    yield about(subject.config, job.weights, job.settings) | where | numbers(measure)
            seen.add(name)


def about(config: TrialConfig, weights: str, settings: Settings) -> Row:
    """What a row of analysis.csv says of the model; the loss of a control is none."""
    return {
        "model": config.model, "topography": config.topography, "weight": config.weight, "seed": config.seed,
        "loss": None if config.topography == NONE else config.loss, "settings": settings.words,
        "config_hash": config.hash, "weights": weights,
    }  # fmt: skip


def numbers(measure: Measure) -> Row:
    """What it says of a measure; where there is no value, None."""
    chance: Sequence[float] = measure.chance or (math.nan,) * 3
    values = zip(("value", "chance_mean", "chance_low", "chance_high"), (measure.value, *chance), strict=True)
    return {"measure": measure.name, "at": measure.at, "other": None} | {
        key: value if math.isfinite(value) else None for key, value in values
    }
