"""Means and intervals by hand, and against scipy's own tests."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from topotune.followup.statistics import compare, mean_and_std, paired_difference


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
