"""Areas and falls of pruning curves, by hand."""

from typing import Any

import pytest

from topotune.followup.curves import area, fallen, summarise_curves


def test_area_is_the_mean_accuracy() -> None:
    assert area([0, 0.5, 1], [0.9, 0.9, 0.1]) == pytest.approx(0.7)
    assert area([0, 0.25, 0.5], [1.0, 0.5, 0.0]) == pytest.approx(0.5)  # over the range there is
    assert area([0.3], [0.8]) == 0.8


def test_falls_are_interpolated() -> None:
    at, accuracy = [0, 0.2, 0.4, 1], [0.95, 0.94, 0.84, 0.1]
    assert fallen(at, accuracy, 0.01) == pytest.approx(0.2)
    assert fallen(at, accuracy, 0.06) == pytest.approx(0.3)
    assert fallen(at, accuracy, 0.9) is None
    assert fallen(at[1:], accuracy[1:], 0.01) is None  # from what?
    assert fallen([0, 0.5, 1], [0.9, 0.7, 0.9], 0.1) == pytest.approx(0.25)  # the first time


def _row(topography: str, seed: int, proportion: float, accuracy: float, **way: Any) -> dict[str, Any]:
    row = {"topography": topography, "weight": 0.0, "seed": seed, "proportion": proportion, "accuracy": accuracy}
    return row | {"criterion": "l2", "scope": "all", "finetune_epochs": 0} | way


def test_a_row_for_each_way_and_topography() -> None:
    rows = [
        _row(name, seed, proportion, start - proportion * slope, criterion=criterion)
        for criterion in ("l2", "l1")
        for name, slope in (("none", 0.8), ("grid2d", 0.4))
        for seed, start in ((1, 0.9), (2, 0.8))
        for proportion in (1.0, 0.0)
    ]
    table = summarise_curves(rows, "none")
    assert [(row["criterion"], row["topography"]) for row in table] == [
        ("l2", "none"), ("l2", "grid2d"), ("l1", "none"), ("l1", "grid2d"),
    ]  # fmt: skip
    control, grid = table[:2]
    assert (control["area"], grid["area"], grid["difference"]) == pytest.approx((0.45, 0.65, 0.2))
    assert (control["fall_10"], grid["fall_10"], grid["fall_1"]) == pytest.approx((0.125, 0.25, 0.025))
    assert grid["area_std"] == pytest.approx(0.0707, abs=1e-4)
    assert summarise_curves([], "none") == []
