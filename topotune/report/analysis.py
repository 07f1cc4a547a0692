"""From the rows of analysis.csv to what is drawn: curves and maps, of the last layer."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from topotune.config import NONE
from topotune.errors import InputError
from topotune.files import Row, read_arrays
from topotune.folder import StudyFolder
from topotune.report.measures import chance_of_mean
from topotune.report.tables import in_order
from topotune.topography import POSITIONS, arrangement_of

MAPS = {
    "weight_components": "weights, first component", "mean_response": "mean response",
    "variance": "variance over images", "orientation": "preferred orientation (°)", "auroc": "AUROC for its best class",
}  # fmt: skip

TURN = 180.0  # degrees, after which an orientation is the same again

Key = tuple[str, str]  # a topography, and the positions that it is looked at


class Bin(NamedTuple):
    """Correlation at one distance: mean over the models, and 95% of such means where positions are shuffled."""

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


def studied(rows: Sequence[Row]) -> list[Row]:
    """What the report shows: of the layers that most models were studied in, the one nearest to the output, and of the
    settings with which it was, those with which most was found. A table has models' layers in that order."""
    last = _most(rows, "layer", lambda own: len({row["weights"] for row in own}))
    return _most(last, "settings", len)


def _most(rows: Sequence[Row], name: str, count: Callable[[list[Row]], int]) -> list[Row]:
    """The rows of one value of a column: the last one that stands for the most."""
    groups: dict[str, list[Row]] = {}
    for row in reversed(rows):
        groups.setdefault(row[name], []).append(row)
    return max(groups.values(), key=count)[::-1] if groups else []


def curves(rows: Sequence[Row]) -> dict[Key, list[Bin]]:
    """Correlation against distance, for each topography and the positions that it is looked at."""
    found: dict[Key, dict[float, list[Row]]] = {}
    for row in rows:
        if (row["analysis"], row["measure"]) == ("correlation", "r") and row["value"] is not None:
            found.setdefault((row["topography"], row["positions"]), {}).setdefault(row["at"], []).append(row)
    return {
        key: [
            Bin(at, fmean(row["value"] for row in own), *(chance_of_mean(own) or (math.nan, math.nan)))
            for at, own in sorted(found[key].items())
        ]
        for key in _in_turn(found)
    }


def _in_turn(keys: Iterable[Key]) -> list[Key]:
    """The control first, then as TOPOGRAPHIES has them; each once."""
    known = set(keys)
    names = in_order([one for key in known for one in key])
    return sorted(known, key=lambda key: (key[0] != NONE, names.index(key[0]), names.index(key[1])))


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
    for key in _in_turn(first):
        layer, weights = first[key]["layer"], first[key]["weights"]
        path = folder.analysis_table.with_suffix("") / f"{weights}.npz"
        maps = read_arrays(path)
        places = maps.get(f"{layer}/positions/{key[1]}")
        own = {name: np.atleast_2d(maps[f"{layer}/{name}"])[0] for name in MAPS if f"{layer}/{name}" in maps}
        if places is None or not own:
            continue
        if places.ndim != 2 or any(values.shape != places.shape[:1] for values in own.values()):
            raise InputError(
                f"{path} is damaged (a map has not as many units as positions); delete it and run topotune analyze"
            )
        drawn.setdefault(arrangement_of(key[1])[0], {})[key] = [_panel(name, places, one) for name, one in own.items()]
    return drawn


def _panel(name: str, places: Any, values: Any) -> Panel:
    cyclic = name == "orientation"
    return Panel(MAPS[name], places, np.degrees(values) if cyclic else values, cyclic)


def gap(positions: Any) -> float:
    """How far apart next neighbours are, as a share of the widest extent. positions: (C, D)."""
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return float(np.median(apart.min(1)) / max(np.ptp(positions, axis=0).max(), 1e-9))
