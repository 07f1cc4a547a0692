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

    names: of analyses. layers: names. views: those of ``views_of``.
    """

    checkpoint: Path
    data: Path | None
    names: tuple[str, ...]
    layers: tuple[str, ...]
    views: tuple[str, ...]
    settings: Settings


@dataclass
class Outcome:
    """What was found of one checkpoint. maps: ``layer/name`` -> array."""

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
        for row in _of_layer(subject, layer, job, outcome.maps):
            outcome.rows.append(row)
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
                    yield row_of(subject.config, layer, view, name, measure) | {"settings": job.settings.words}
            seen.add(name)


def row_of(config: TrialConfig, layer: str, view: str | None, name: str, measure: Measure) -> Row:
    """A row of analysis.csv, without its settings; where there is no value, None."""
    chance: Sequence[float] = measure.chance or (math.nan,) * 3
    values = zip(("value", "chance_mean", "chance_low", "chance_high"), (measure.value, *chance), strict=True)
    return (
        {"model": config.model, "topography": config.topography, "weight": config.weight}
        | {"loss": None if config.topography == NONE else config.loss}
        | {"seed": config.seed, "layer": layer, "positions": view if measure.chance else None, "analysis": name}
        | {"measure": measure.name, "at": measure.at, "other": None, "config_hash": config.hash}
        | {key: value if math.isfinite(value) else None for key, value in values}
    )
