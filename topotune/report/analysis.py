"""From the rows of analysis.csv to what a reader sees: curves and maps to draw, and a table, of the last layer."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from topotune.config import NONE
from topotune.files import Row, read_arrays
from topotune.folder import StudyFolder
from topotune.report.tables import Table, in_order, mean_std
from topotune.report.wording import MISSING, number
from topotune.topography import POSITIONS, arrangement_of

MAPS = {
    "weight_components": "weights, first component", "mean_response": "mean response",
    "variance": "variance over images", "orientation": "preferred orientation (°)", "auroc": "AUROC for its best class",
}  # fmt: skip

TURN = 180.0  # degrees, after which an orientation is the same again

Key = tuple[str, str]  # a topography, and the positions that it is looked at


class Bin(NamedTuple):
    """Correlation at one distance: mean over the seeds, and the 95% of shuffled positions."""

    distance: float
    mean: float
    low: float
    high: float


class Panel(NamedTuple):
    """One map: a value (C,) a unit, on its position (C, D); cyclic values are the same at 0 and at ``TURN``."""

    title: str
    positions: Any
    values: Any
    cyclic: bool


def name_of(key: Key) -> str:
    """``grid2d``, or ``none on circle`` where the positions are not those that it was trained with."""
    return key[0] if key[0].partition(" ")[0] == key[1] else f"{key[0]} on {key[1]}"


def last_layer(rows: Sequence[Row]) -> list[Row]:
    """The rows of the layer that stands last in the table: the one that is nearest to the network's output."""
    return [row for row in rows if row["layer"] == rows[-1]["layer"]] if rows else []


def curves(rows: Sequence[Row]) -> dict[Key, list[Bin]]:
    """Correlation against distance, for each topography and the positions that it is looked at."""
    found: dict[Key, dict[float, list[Row]]] = {}
    for row in rows:
        if (row["analysis"], row["measure"]) == ("correlation", "r") and row["value"] is not None:
            found.setdefault((row["topography"], row["positions"]), {}).setdefault(row["at"], []).append(row)
    return {
        key: [
            Bin(at, *(fmean(row[name] for row in own) for name in ("value", "chance_low", "chance_high")))
            for at, own in sorted(found[key].items())
        ]
        for key in _ordered(found)
    }


def by_organisation(curves: Mapping[Key, list[Bin]]) -> dict[str, dict[Key, list[Bin]]]:
    """The curves of each organisation, the control's on it among them: their distances are of one unit, which the
    name of the group tells where it is a lattice's step."""
    found: dict[str, dict[Key, list[Bin]]] = {}
    for key, own in curves.items():
        name = arrangement_of(key[1])[0]
        lattice = name in POSITIONS and POSITIONS[name].lattice
        found.setdefault(f"{name}, distance in steps" if lattice else f"{name}, distance", {})[key] = own
    return found


def role_of(key: Key) -> str:
    """Whose curve it is within its organisation's panel: a topography's own, or the control's on given positions."""
    if key[0] != NONE:
        return key[0]
    way = arrangement_of(key[1])[1]
    return "control, positions assigned" if way == "assigned" else "control, same positions"


def table(rows: Sequence[Row]) -> Table:
    """Every measure of which there is one a model, for each topography and the positions that it is looked at."""
    names = ("analysis", "measure", "topography", "positions")
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row["at"] is None and row["other"] is None and row["value"] is not None:
            groups.setdefault(tuple(row[name] or "" for name in names), []).append(row)
    measures = dict.fromkeys(key[:2] for key in groups)
    shown = [
        _line(measure, key, groups[*measure, *key])
        for measure in measures
        for key in _ordered(key[2:] for key in groups if key[:2] == measure)
    ]
    header = ("Analysis", "Measure", "Topography", "Positions", "Models", "Mean ± std", "By chance (95%)")
    return Table(header, tuple(shown), words=4)


def _line(measure: tuple[str, ...], key: Key, rows: Sequence[Row]) -> tuple[str, ...]:
    mean, std = mean_std([float(row["value"]) for row in rows])
    spread = number(mean) + ("" if std is None else f" ± {number(std)}")
    known = [row for row in rows if row["chance_low"] is not None]
    bounds = (number(fmean(row[name] for row in known)) for name in ("chance_low", "chance_high")) if known else ()
    words = (one.replace("_", " ") for one in measure)
    return (*words, key[0], key[1] or MISSING, str(len(rows)), spread, " to ".join(bounds) or MISSING)


def _ordered(keys: Any) -> list[Key]:
    """The control first, then as TOPOGRAPHIES has them; each once."""
    known = set(keys)
    names = in_order([one for key in known for one in key])
    return sorted(known, key=lambda key: (key[0] != NONE, names.index(key[0]), names.index(key[1])))


def panels(folder: StudyFolder, rows: Sequence[Row]) -> dict[str, dict[Key, list[Panel]]]:
    """The maps of the first model of each topography, for each of the positions that it is looked at: by organisation,
    the control beside what was trained on it.

    Raises:
        InputError: a file of maps is damaged.
    """
    first: dict[Key, Row] = {}
    for row in rows:
        if row["positions"]:
            first.setdefault((row["topography"], row["positions"]), row)
    drawn: dict[str, dict[Key, list[Panel]]] = {}
    for key in _ordered(first):
        layer, weights = first[key]["layer"], first[key]["weights"]
        maps = read_arrays(folder.analysis_table.with_suffix("") / f"{weights}.npz")
        places = maps.get(f"{layer}/positions/{key[1]}")
        own = [(name, maps[f"{layer}/{name}"]) for name in MAPS if f"{layer}/{name}" in maps]
        if places is not None and own:
            drawn.setdefault(arrangement_of(key[1])[0], {})[key] = [_panel(name, places, one) for name, one in own]
    return drawn


def _panel(name: str, places: Any, values: Any) -> Panel:
    first, cyclic = values if values.ndim == 1 else values[0], name == "orientation"
    return Panel(MAPS[name], places, np.degrees(first) if cyclic else first, cyclic)


def gap(positions: Any) -> float:
    """How far apart next neighbours are, as a share of the widest extent. positions: (C, D)."""
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return float(np.median(apart.min(1)) / max(np.ptp(positions, axis=0).max(), 1e-9))
