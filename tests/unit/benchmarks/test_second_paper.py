"""The second paper's effects: measures out of tables, differences by seed, and what they are taken for."""

from typing import Any

import pytest

from tests.benchmarks.second_paper import COLUMNS, DIRECTIONS, RECORDED, effects, judge, models
from topotune.files import read_csv

MEASURES = [
    ("moran", "responses", None, "grid2d", 0.4), ("moran", "responses", None, "grid2d-assigned", 0.3),
    ("correlation", "neighbours", None, "grid2d", 0.2), ("localisation", "distance", 0.5, "grid2d", 4.0),
    ("localisation", "distance", 0.3, "grid2d", 5.0), ("sensitivity", "variance", None, None, 1.5),
    ("bimodality", "coefficient", None, None, 0.6), ("orientation", "circular_variance", None, None, 0.5),
    ("symmetry", "mirror_correlation", None, None, 0.7), ("eccentricity", "preferred", None, None, 0.25),
]  # fmt: skip


def _tables(config_hash: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    about = {"model": "mnist_cnn", "loss": None, "weight": 0.0, "seed": 3, "config_hash": config_hash, "other": None}
    names = ("analysis", "measure", "at", "positions", "value")
    levels = [("weight", 0.0, 0.9), ("weight", 0.5, 0.7), ("weight", 0.5, 0.9), ("weight", 1.0, 0.5)]
    levels += [("white", 0.1, 0.8), ("white", 0.2, 0.6), ("pink", 0.1, 0.9), ("salt_and_pepper", 0.1, 0.3)]
    tried = [
        {"config_hash": config_hash, "perturbation": name, "level": level, "accuracy": accuracy, "clean_accuracy": 0.9}
        for name, level, accuracy in levels
    ]
    return [about | dict(zip(names, measure, strict=True)) for measure in MEASURES], tried


def test_a_model_out_of_the_tables_by_hand() -> None:
    looked, tried = _tables("a")
    half = _tables("b")
    (row,) = models(looked + half[0], tried + half[1][:4])  # the second was not tried under noise
    assert tuple(sorted(row)) == tuple(sorted(COLUMNS))
    assert (row["loss"], row["weight"], row["seed"], row["accuracy"]) == ("none", 0.0, 3, 0.9)
    assert row["weight_area"] == pytest.approx(0.5 * (0.9 + 0.8) / 2 + 0.5 * (0.8 + 0.5) / 2 - 0.9)
    assert [row[name] for name in ("white", "pink", "salt_and_pepper")] == pytest.approx([-0.2, 0.0, -0.6])
    assert row["noise"] == pytest.approx(-0.8 / 3, abs=1e-6)
    assert (row["moran"], row["moran_assigned"], row["localisation"]) == (0.4, 0.3, 4.0)
    assert row["neighbour_r_assigned"] is None
    assert row["preferred_eccentricity"] == 0.25


def _model(loss: str, weight: float, seed: int, moran: float) -> dict[str, Any]:
    plain = dict.fromkeys(COLUMNS, 1.0) | {"moran_assigned": 0.5 if loss == "none" else None}
    return plain | {"model": "mnist_cnn", "loss": loss, "weight": weight, "seed": seed, "moran": moran}


def test_effects_are_differences_from_the_control_of_the_same_seed() -> None:
    rows = [_model("none", 0.0, seed, 0.1 * seed) for seed in range(3)]
    rows += [_model("ws", 1.0, seed, 0.1 * seed + 0.3 + 0.01 * seed) for seed in range(3)]
    rows += [_model("ws", 2.0, seed, 0.1 * seed + 0.5 - 0.02 * seed) for seed in range(3)]
    rows += [_model("as", 1.0, seed, 0.9) for seed in range(2)]
    found = {(row["loss"], row["against"], row["weight"]): row for row in effects(rows) if row["measure"] == "moran"}
    assert [key[2] for key in found if key[:2] == ("ws", "control")] == [1.0, 2.0, "all"]
    assert found["ws", "control", 1.0]["difference"] == pytest.approx(0.31)
    overall = found["ws", "control", "all"]
    assert (overall["seeds"], overall["difference"]) == (3, pytest.approx(0.395))
    assert overall["low"] == pytest.approx(0.395 - 4.302653 * 0.005 / 3**0.5)  # t of 2 degrees of freedom
    assert (overall["mean"], overall["against_mean"]) == pytest.approx((0.495, 0.1))
    assert overall["verdict"] == "found"
    assert found["ws", "assigned control", "all"]["against_mean"] == 0.5
    assert found["as", "ws", 1.0]["difference"] == pytest.approx(0.9 - (0.3 + 0.41) / 2)
    assert ("as", "control", "all") not in found  # of one λ there is nothing to take a mean over


@pytest.mark.parametrize(
    ("expected", "low", "high", "verdict"),
    [
        ("higher", 0.1, 0.2, "found"), ("higher", -0.2, -0.1, "opposite"), ("higher", -0.1, 0.2, "not found"),
        ("lower", -0.2, -0.1, "found"), ("lower", 0.1, 0.2, "opposite"), ("other", -0.2, -0.1, "found"),
        ("other", -0.1, 0.1, "not found"), ("no higher", 0.1, 0.2, "opposite"),
        ("no higher", -0.1, 0.2, "not contradicted"), ("higher", None, None, "no interval"),
    ],
)  # fmt: skip
def test_verdicts(expected: str, low: float | None, high: float | None, verdict: str) -> None:
    assert judge(expected, low, high) == verdict


@pytest.mark.parametrize("model", ["mnist_cnn", "cifar_cnn"])
def test_the_recorded_models_are_whole(model: str) -> None:
    path = RECORDED if model == "mnist_cnn" else RECORDED.with_name("cifar10_losses.csv")
    rows = read_csv(path)
    assert {row["model"] for row in rows} == {model}
    assert path.stat().st_size < 200_000
    assert tuple(rows[0]) == COLUMNS
    assert all(row[name] is not None for row in rows for name in COLUMNS if not name.endswith("_assigned"))
    assert len({row["config_hash"] for row in rows}) == len(rows)
    there = {row["loss"] for row in rows}
    told = {
        (one.loss, one.measure, one.against)
        for one in DIRECTIONS
        if one.model in ("", model) and {one.loss, *({one.against} - {"control", "assigned control"})} <= there
    }
    assert {(row["loss"], row["measure"], row["against"]) for row in effects(rows)} == told != set()
