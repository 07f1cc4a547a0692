"""Means over seeds; differences from the control with intervals, tests and effect sizes; how many seeds it takes.

Everything is paired: a difference is taken seed by seed, between two networks that saw the same data in the same order.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from topotune.files import Row

LEVEL = 0.95
POWER = 0.8  # of the power analysis: a difference that is there is found in so many of all studies
POINT = 0.01  # the difference that it asks about: one percentage point of accuracy
# A bootstrap interval is given from so many pairs on. t covers as well or better at every number of them that was
# simulated (3 to 20; normal, skewed and heavy-tailed differences), so it is the one that is judged by; of 4 normal ones
# BCa covers less than 88% where 95% are meant: tests/unit/followup/test_coverage.py.
BOOTSTRAP_FROM = 10
RESAMPLES = 9999
_MOST = 100_000  # seeds: more are no plan


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (n − 1 in the denominator); none of a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired_difference(values: Sequence[float], control: Sequence[float]) -> Row:
    """How two sets of values differ, pair by pair.

    Returns:
        difference: the mean. low, high: the ends of its 95% t interval. bootstrap_low, bootstrap_high: of its BCa
        bootstrap interval, with 10 pairs and more. p: of the two-sided paired t test. effect: Hedges' g of the
        differences (their mean over their standard deviation, corrected for few pairs), with 3 and more.
        detectable: the difference that so many pairs find with a power of 80%. seeds_for_a_point: how many pairs find
        one of a percentage point with that power.

    There is but the mean with fewer than two pairs, and where all differences are equal, as happens with few test
    images: an interval would have no width, which says nothing of other seeds.
    """
    mean, low, high = paired_interval(values, control)
    if low is None:
        return dict.fromkeys(DIFFERENCE) | {"difference": mean}
    differences = np.asarray(values, dtype=float) - np.asarray(control, dtype=float)
    std, pairs = float(differences.std(ddof=1)), len(differences)
    found = (
        mean, low, high, *bootstrap_interval(differences), float(stats.ttest_rel(values, control).pvalue),
        hedges_g(mean / std, pairs), detectable(std, pairs), seeds_needed(std, POINT),
    )  # fmt: skip
    return dict(zip(DIFFERENCE, found, strict=True))


DIFFERENCE = (
    "difference", "low", "high", "bootstrap_low", "bootstrap_high", "p", "effect", "detectable", "seeds_for_a_point",
)  # fmt: skip


def paired_interval(
    values: Sequence[float], control: Sequence[float]
) -> tuple[float, float, float] | tuple[float, None, None]:
    """The mean of the differences, and the ends of its 95% t interval: as ``paired_difference`` has them."""
    differences = np.asarray(values, dtype=float) - np.asarray(control, dtype=float)
    mean = float(differences.mean())
    equal = np.allclose(differences, mean, rtol=1e-9, atol=1e-12)  # but for rounding
    if len(differences) < 2 or equal:
        return mean, None, None
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(LEVEL)
    return mean, float(low), float(high)


def bootstrap_interval(differences: Any) -> tuple[float | None, float | None]:
    """The 95% BCa bootstrap interval of a mean (Efron 1987); none with fewer than 10 values, which are too few."""
    if len(differences) < BOOTSTRAP_FROM:
        return None, None
    low, high = stats.bootstrap(
        (differences,), np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="BCa", random_state=0
    ).confidence_interval
    return (float(low), float(high)) if math.isfinite(low + high) else (None, None)


def hedges_g(cohens_d: float, pairs: int) -> float | None:
    """Cohen's d of paired differences, less the bias that few pairs have (Hedges 1981, eq. 6e); None for two pairs."""
    free = pairs - 1
    if free < 2:
        return None
    return cohens_d * math.exp(math.lgamma(free / 2) - math.lgamma((free - 1) / 2)) / math.sqrt(free / 2)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number (Holm 1979); None stays, and counts as a comparison that found nothing."""
    from statsmodels.stats.multitest import multipletests  # seconds

    if all(one is None for one in p_values):
        return list(p_values)
    found = multipletests([1.0 if one is None else one for one in p_values], alpha=1 - LEVEL, method="holm")[1]
    return [None if one is None else float(own) for one, own in zip(p_values, found, strict=True)]


def seeds_needed(std: float, size: float) -> int | None:
    """How many pairs find a difference of ``size`` with a power of 80%, two-sided at 5%; None: more than 100,000.

    std: standard deviation of the differences, in the unit of ``size``.
    """
    from statsmodels.stats.power import TTestPower

    power = TTestPower().power

    def enough(pairs: int) -> bool:
        return not power(size / std, pairs, 1 - LEVEL) < POWER  # it is NaN for some differences that none could miss

    high = 2
    while not enough(high):
        high *= 2
        if high > _MOST:
            return None
    low = high // 2  # too few, for the power grows with the pairs
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable(std: float, pairs: int) -> float:
    """The smallest difference that so many pairs find with a power of 80%, two-sided at 5%."""
    from statsmodels.stats.power import TTestPower

    return float(std * TTestPower().solve_power(nobs=pairs, alpha=1 - LEVEL, power=POWER))


def compare(rows: Sequence[Row], control: str, value: str = "test_accuracy") -> list[Row]:
    """One row a topography of confirm.csv's rows: its test accuracy over seeds, and how it differs from the control.

    The difference is taken seed by seed, over the seeds that both have (``paired_difference``); ``p_holm`` is its p,
    corrected for the number of topographies. ``roc_auc`` is there for two classes only.
    """
    table = []
    own = {row["seed"]: row[value] for row in rows if row["topography"] == control}
    for topography in dict.fromkeys(row["topography"] for row in rows):
        mine = {row["seed"]: row[value] for row in rows if row["topography"] == topography}
        weight = next(row["weight"] for row in rows if row["topography"] == topography)
        mean, std = mean_and_std(list(mine.values()))
        own_areas = [row.get("test_roc_auc") for row in rows if row["topography"] == topography]
        areas = [area for area in own_areas if area is not None]
        shared = sorted(mine.keys() & own.keys())
        difference: Row = dict.fromkeys(DIFFERENCE)
        if topography != control and shared:
            difference = paired_difference([mine[seed] for seed in shared], [own[seed] for seed in shared])
        table.append(
            {"topography": topography, "weight": weight, "seeds": len(mine), "shared_seeds": len(shared)}
            | {"mean": mean, "std": std}
            | difference
            | ({"roc_auc": mean_and_std(areas)[0]} if areas else {})
        )
    return corrected(table)


def corrected(table: Sequence[Row]) -> list[Row]:
    """Rows of comparisons with ``p_holm``: their ``p``, corrected for the number of rows that have a difference."""
    compared = [row["p"] for row in table if row["difference"] is not None]
    found = iter(holm(compared))
    return [row | {"p_holm": None if row["difference"] is None else next(found)} for row in table]
