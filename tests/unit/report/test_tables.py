"""From rows to curves and tables, against numbers worked out by hand."""

import math
from typing import Any

import pytest

from topotune.report import tables
from topotune.report.tables import CurvePoint, Point


def _trial(number: int, state: str, topography: str, weight: float, accuracy: float | None) -> dict[str, Any]:
    return {
        "id": number, "state": state, "config_hash": "ab", "topography": topography, "weight": weight,
        "learning_rate": 0.0123456, "validation_accuracy": accuracy, "epochs": 9, "seconds": 1.4,
    }  # fmt: skip


TRIALS = [
    _trial(0, "complete", "sphere", 0.3, 0.90),
    _trial(1, "complete", "grid2d", 1.0, 0.95),
    _trial(2, "pruned", "grid2d", 0.1, 0.99),
    _trial(3, "failed", "grid2d", 0.1, 0.97),
    _trial(4, "complete", "none", 0.0, 0.95),
    _trial(5, "complete", "grid2d", 0.0, 0.91),
    _trial(6, "complete", "grid2d", 0.2, None),
    _trial(7, "complete", "grid2d", 0.2, math.nan),
    _trial(8, "running", "grid2d", 0.2, 0.5),
]


def test_in_order_puts_the_control_first_and_the_unknown_last() -> None:
    assert tables.in_order(["zzz", "sphere", "none", "grid2d", "aaa", "sphere"]) == [
        "none", "grid2d", "sphere", "aaa", "zzz",
    ]  # fmt: skip


def test_mean_std() -> None:
    mean, std = tables.mean_std([0.97, 0.98, 0.99])
    assert mean == pytest.approx(0.98)
    assert std == pytest.approx(0.01)  # n − 1: sqrt(2 · 0.01² / 2)
    assert tables.mean_std([0.5]) == (0.5, None)


def test_accuracy_by_topography() -> None:
    """Failed, running and unknown ones are left out; a topography may be without a weight: assigned afterwards."""
    found = tables.accuracy_by_topography(TRIALS)
    assert list(found) == ["none", "grid2d", "sphere"]
    assert found["none"] == [Point(0.0, 0.95, True)]
    assert found["grid2d"] == [Point(0.0, 0.91, True), Point(0.1, 0.99, False), Point(1.0, 0.95, True)]


def test_leaderboard_ranks_complete_trials_and_breaks_ties_by_number() -> None:
    board = tables.leaderboard(TRIALS, top=3)
    assert board.header == (
        "Rank", "Trial", "Topography", "λ", "learning_rate", "Validation accuracy (%)", "Epochs", "Seconds",
    )  # fmt: skip
    assert board.rows == (
        ("1", "1", "grid2d", "1", "0.0123", "95.00", "9", "1"),
        ("2", "4", "none", "–", "0.0123", "95.00", "9", "1"),
        ("3", "5", "grid2d", "–", "0.0123", "91.00", "9", "1"),
    )
    assert len(tables.leaderboard(TRIALS).rows) == 4
    assert tables.leaderboard([]).rows == ()


def test_count_states() -> None:
    assert tables.count_states(TRIALS) == {"complete": 6, "pruned": 1, "failed": 1, "running": 1}


def test_confirmed_accuracies_are_in_the_order_of_the_seeds() -> None:
    rows = [
        {"topography": "grid2d", "weight": 0.3, "seed": seed, "test_accuracy": accuracy}
        for seed, accuracy in ((2, 0.99), (0, 0.97), (1, None), (10, 0.96))
    ]
    assert tables.confirmed_by_topography(rows) == {"grid2d": tables.Confirmed(0.3, (0.97, 0.99, 0.96))}


def test_confirmed_table() -> None:
    summaries = [
        {"topography": "sphere", "weight": 0.25, "seeds": 1, "mean": 0.98, "std": None, "difference": 0.005,
         "low": None, "high": None},
        {"topography": "grid2d", "weight": 0.3, "seeds": 3, "mean": 0.9812, "std": 0.0031, "difference": -0.0042,
         "low": -0.0074, "high": 0.001},
        {"topography": "none", "weight": 0.0, "seeds": 3, "mean": 0.975, "std": 0.002, "difference": None},
    ]  # fmt: skip
    assert tables.confirmed_table(summaries).rows == (
        ("none", "–", "3", "97.50 ± 0.20", "–", "–"),
        ("grid2d", "0.3", "3", "98.12 ± 0.31", "−0.42", "−0.74 to +0.10"),
        ("sphere", "0.25", "1", "98.00", "+0.50", "–"),
    )


def _pruned(accuracies: dict[float, list[float]]) -> list[dict[str, Any]]:
    return [
        {"topography": "grid2d", "weight": 0.3, "seed": seed, "proportion": proportion, "accuracy": accuracy}
        for proportion, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


def test_pruning_curves_and_table() -> None:
    curves = tables.pruning_curves(_pruned({0.1 + 0.2: [0.5], 0.4: [0.6, 0.8], 0.0: [0.97, 0.98, 0.99]}))
    first, second, third = curves["grid2d"].points
    assert (first.proportion, first.seeds, second, third.proportion) == (0.0, 3, CurvePoint(0.3, 0.5, None, 1), 0.4)
    assert third.mean == pytest.approx(0.7)
    assert third.std == pytest.approx(math.sqrt(0.02))
    table = tables.pruning_table(curves)
    assert table.header == ("Topography", "λ", "Seeds", "0% pruned", "40% pruned")
    assert table.rows == (("grid2d", "0.3", "1 to 3", "98.00 ± 1.00", "70.00 ± 14.14"),)


def test_pruning_table_of_other_proportions_spreads_over_them() -> None:
    curves = tables.pruning_curves(_pruned({step / 100: [0.9] for step in range(5, 95, 10)}))
    assert tables.pruning_table(curves).header[3:] == (
        "5% pruned", "25% pruned", "45% pruned", "65% pruned", "85% pruned",
    )  # fmt: skip
    few = tables.pruning_curves(_pruned({0.5: [0.9], 0.25: [0.95]}))
    assert tables.pruning_table(few).header[3:] == ("25% pruned", "50% pruned")


def test_a_leaderboard_shows_all_that_was_measured() -> None:
    more = {"standard_error": 0.0012, "pruned_accuracy": 0.5, "parameters": 12345, "pareto": True, "feasible": False}
    last = ("epochs", "seconds")
    trials = [
        {name: value for name, value in trial.items() if name not in last} | more | {name: trial[name] for name in last}
        for trial in TRIALS[:2]
    ]
    trials[1]["pareto"] = None
    board = tables.leaderboard(trials)
    assert board.header[5:] == (
        "Validation accuracy (%)", "Standard error (points)", "Pruned accuracy (%)", "Parameters",
        "On the Pareto front", "Keeps the constraints", "Epochs", "Seconds",
    )  # fmt: skip
    assert board.rows[0][5:] == ("95.00", "0.12", "50.00", "12,345", "–", "no", "9", "1")
    assert board.rows[1][5:] == ("90.00", "0.12", "50.00", "12,345", "yes", "no", "9", "1")


def test_the_area_under_the_roc_curve_has_a_column_where_there_is_one() -> None:
    one = {"topography": "none", "weight": 0.0, "seeds": 2, "mean": 0.5, "std": 0.1}
    plain, with_area = (tables.confirmed_table([row]) for row in (one, one | {"roc_auc": 0.61234}))
    assert with_area.header == (*plain.header, "ROC-AUC, mean")
    assert with_area.rows[0] == (*plain.rows[0], "0.6123")
