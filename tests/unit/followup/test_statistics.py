"""Means and intervals by hand, and against scipy's own tests."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from topotune.followup.statistics import (
    compare,
    detectable,
    hedges_g,
    holm,
    mean_and_std,
    seeds_needed,
)
from topotune.followup.statistics import paired_difference as all_of_difference


def paired_difference(values: Sequence[float], control: Sequence[float]) -> tuple[Any, Any, Any]:
    found = all_of_difference(values, control)
    return found["difference"], found["low"], found["high"]


def test_mean_and_std_by_hand() -> None:
    mean, std = mean_and_std([0.97, 0.98, 0.99])
    assert mean == pytest.approx(0.98)
    assert std == pytest.approx(0.01)  # √(2 · 0.01² / 2)
    assert mean_and_std([0.5]) == (0.5, None)


def test_paired_difference_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1 / √3, and t(0.975, 2 degrees) = 4.302653."""
    mean, low, high = paired_difference([1, 3, 5], [0, 1, 2])
    assert low is not None
    assert high is not None
    assert mean == pytest.approx(2)
    assert high - mean == pytest.approx(4.302652729911275 / math.sqrt(3), rel=1e-9)
    assert mean - low == pytest.approx(4.302652729911275 / math.sqrt(3), rel=1e-9)


def test_differences_without_spread_or_number() -> None:
    assert paired_difference([0.5], [0.25]) == (0.25, None, None)
    assert paired_difference([0.5, 0.75], [0.25, 0.5]) == (0.25, None, None)
    assert paired_difference([0.5, 0.5], [0.5, 0.5]) == (0, None, None)
    # equal but for rounding: 0.8 − 0.7 and 0.3 − 0.2 differ in their last bits
    mean, low, high = paired_difference([0.8, 0.3], [0.7, 0.2])
    assert mean == pytest.approx(0.1)
    assert (low, high) == (None, None)
    # one image of a million more makes an interval
    assert None not in paired_difference([0.8, 0.300001], [0.7, 0.2])


accuracies = st.floats(0, 1).map(lambda value: round(value, 4))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(accuracies, accuracies), min_size=2, max_size=8))
def test_the_interval_is_that_of_the_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    """95%: it holds zero just when the two-sided p is more than 0.05."""
    values, control = zip(*pairs, strict=True)
    mean, low, high = paired_difference(values, control)
    if len({round(10**4 * (a - b)) for a, b in pairs}) == 1:  # accuracies have four digits here
        assert low is high is None
        assert mean == pytest.approx(values[0] - control[0])
        return
    theirs = stats.ttest_rel(values, control)
    interval = theirs.confidence_interval(0.95)
    assert (low, high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    assert low is not None
    assert high is not None
    if abs(theirs.pvalue - 0.05) > 1e-6:
        assert (low <= 0 <= high) == (theirs.pvalue > 0.05)


def _row(topography: str, seed: int, accuracy: float) -> dict[str, Any]:
    return {
        "topography": topography, "seed": seed, "test_accuracy": accuracy, "weight": 0.0 if topography == "none" else 2,
    }  # fmt: skip


def test_comparison_is_seed_by_seed_over_the_seeds_that_both_have() -> None:
    rows = [
        _row("grid2d", 1, 0.92), _row("none", 2, 0.80), _row("none", 1, 0.90), _row("grid2d", 2, 0.84),
        _row("grid2d", 4, 0.10), _row("none", 3, 0.99), _row("sphere", 9, 0.5),
    ]  # fmt: skip
    grid, none, sphere = compare(rows, "none")
    assert [row["topography"] for row in (grid, none, sphere)] == ["grid2d", "none", "sphere"]
    assert (grid["seeds"], none["seeds"], sphere["seeds"]) == (3, 3, 1)
    assert (grid["shared_seeds"], none["shared_seeds"], sphere["shared_seeds"]) == (2, 3, 0)
    assert (grid["weight"], none["weight"]) == (2, 0.0)
    assert grid["mean"] == pytest.approx((0.92 + 0.84 + 0.10) / 3)
    # differences 0.02 and 0.04: mean 0.03, standard error 0.01, t(0.975, 1 degree) = 12.7062
    assert grid["difference"] == pytest.approx(0.03)
    assert grid["low"] == pytest.approx(0.03 - 0.127062, abs=1e-6)
    assert grid["high"] == pytest.approx(0.03 + 0.127062, abs=1e-6)
    assert (none["difference"], none["low"], none["high"]) == (None, None, None)
    assert (sphere["difference"], sphere["std"]) == (None, None)  # no seed in common
    assert compare([], "none") == []


def test_the_area_under_the_roc_curve_is_told_where_there_is_one() -> None:
    rows = [
        {"topography": name, "seed": seed, "test_accuracy": 0.5, "test_roc_auc": area, "weight": 0.0}
        for name, areas in (("none", (0.5, 0.7)), ("grid2d", (None, None)))
        for seed, area in enumerate(areas)
    ]
    control, other = compare(rows, "none")
    assert control["roc_auc"] == pytest.approx(0.6)
    assert "roc_auc" not in other


def test_all_that_is_said_of_a_difference() -> None:
    values, control = [0.92, 0.93, 0.91, 0.94], [0.90, 0.92, 0.90, 0.91]
    found = all_of_difference(values, control)
    assert found["p"] == pytest.approx(stats.ttest_rel(values, control).pvalue)
    # differences 2, 1, 1, 3 points: mean 1.75, deviation 0.957; the correction for 3 degrees is 0.7236
    assert found["effect"] == pytest.approx(0.7236 * 1.75 / 0.95743, rel=1e-3)
    assert (found["bootstrap_low"], found["bootstrap_high"]) == (None, None)  # too few


def test_the_bootstrap_interval_is_scipys() -> None:
    draw = np.random.default_rng(3)
    values, control = draw.normal(0.9, 0.01, 12), draw.normal(0.89, 0.01, 12)
    found = all_of_difference(values.tolist(), control.tolist())
    theirs = stats.bootstrap((values - control,), np.mean, n_resamples=9999, random_state=0).confidence_interval
    assert (found["bootstrap_low"], found["bootstrap_high"]) == pytest.approx((theirs.low, theirs.high))


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.03, 0.04: times 3, 2, 1, and never less than the one before."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.04, None, 0.01, 0.03]) == pytest.approx([0.09, None, 0.04, 0.09])  # it was a comparison too
    assert holm([None]) == [None]
    assert holm([]) == []


def test_power_against_published_and_exact_values() -> None:
    """Cohen's d of 0.5 needs 34 pairs for a power of 80% (as G*Power says), of 0.2 needs 199; d of 1 needs 10."""
    assert [seeds_needed(1.0, size) for size in (0.5, 0.2, 1.0)] == [34, 199, 10]
    assert seeds_needed(1e-9, 1.0) == 2
    assert seeds_needed(1.0, 1e-6) is None
    size = detectable(0.01, 5)
    free, apart, edge = 4, size / 0.01 * math.sqrt(5), stats.t.ppf(0.975, 4)
    power = stats.nct.sf(edge, free, apart) + stats.nct.cdf(-edge, free, apart)
    assert power == pytest.approx(0.8, abs=1e-4)
    assert hedges_g(1.0, 2) is None


def test_comparisons_are_corrected_for_their_number() -> None:
    draw = np.random.default_rng(0)
    rows = [_row(name, seed, draw.normal(0.9, 0.01)) for name in ("none", "a", "b", "c") for seed in range(5)]
    table = compare(rows, "none")
    assert [row["p_holm"] for row in table[1:]] == holm([row["p"] for row in table[1:]])
    assert table[0]["p_holm"] is None  # the control's
    assert all(row["p_holm"] >= row["p"] for row in table[1:])
