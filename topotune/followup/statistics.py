"""Means over seeds, and differences from the control with their intervals."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from topotune.files import Row

LEVEL = 0.95


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (n − 1 in the denominator); none of a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired_difference(values: Sequence[float], control: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean of the differences pair by pair, and the ends of its 95% t interval.

    There is no interval with fewer than two pairs, nor where all differences are equal, as happens with few test
    images: the t interval would have no width, which says nothing of other seeds.
    """
    differences = np.asarray(values, dtype=float) - np.asarray(control, dtype=float)
    mean = float(differences.mean())
    if len(differences) < 2 or np.allclose(differences, mean, rtol=0, atol=1e-12):
        return mean, None, None
    low, high = stats.t.interval(LEVEL, len(differences) - 1, mean, stats.sem(differences))
    return mean, float(low), float(high)


def compare(rows: Sequence[Row], control: str) -> list[Row]:
    """One row a topography of confirm.csv's rows: its test accuracy over seeds, and how it differs from the control.

    The difference is taken seed by seed, over the seeds that both have. ``roc_auc`` is there for two classes only.
    """
    table = []
    own = {row["seed"]: row["test_accuracy"] for row in rows if row["topography"] == control}
    for topography in dict.fromkeys(row["topography"] for row in rows):
        mine = {row["seed"]: row["test_accuracy"] for row in rows if row["topography"] == topography}
        weight = next(row["weight"] for row in rows if row["topography"] == topography)
        mean, std = mean_and_std(list(mine.values()))
        own_areas = [row.get("test_roc_auc") for row in rows if row["topography"] == topography]
        areas = [area for area in own_areas if area is not None]
        shared = sorted(mine.keys() & own.keys())
        difference: tuple[float | None, ...] = (None, None, None)
        if topography != control and shared:
            difference = paired_difference([mine[seed] for seed in shared], [own[seed] for seed in shared])
        table.append(
            {"topography": topography, "weight": weight, "seeds": len(mine), "shared_seeds": len(shared)}
            | {"mean": mean, "std": std}
            | dict(zip(("difference", "low", "high"), difference, strict=True))
            | ({"roc_auc": mean_and_std(areas)[0]} if areas else {})
        )
    return table
