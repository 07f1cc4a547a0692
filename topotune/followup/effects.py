"""How measures of units differ from the control's, seed by seed."""

from collections.abc import Sequence
from typing import Any

from topotune.files import Row
from topotune.followup.statistics import paired_interval
from topotune.topography import arrangement_of

MEASURE = ("layer", "settings", "analysis", "measure", "at")


def summarise_effects(rows: Sequence[Row], control: str) -> list[Row]:
    """One row a measure and topography of analysis.csv's rows, where topography and control share a seed.

    difference, low, high: from the control, the mean over the seeds that both have and its 95% t interval. What
    depends on positions is compared with the control on positions of the same organisation that were assigned to it
    by its own correlations: that is what training with a topography has to exceed.
    """
    values: dict[tuple[Any, ...], dict[int, float]] = {}
    for row in rows:
        if row["other"] is None and row["value"] is not None:
            key = (*(row[name] for name in MEASURE), row["topography"], row["positions"])
            values.setdefault(key, {})[row["seed"]] = row["value"]
    table = []
    for key, own in values.items():
        *measure, topography, positions = key
        beside = None if positions is None else f"{arrangement_of(positions)[0]}-assigned"
        other = values.get((*measure, control, beside), {})
        shared = sorted(own.keys() & other.keys())
        if topography != control and shared:
            found = paired_interval([own[seed] for seed in shared], [other[seed] for seed in shared])
            told = zip(("difference", "low", "high"), found, strict=True)
            about = dict(zip(MEASURE, measure, strict=True))
            table.append(about | {"topography": topography, "positions": positions, "seeds": len(shared)} | dict(told))
    return table
