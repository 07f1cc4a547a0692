"""A study's folder as the stages leave it, with made-up numbers that look like a real study's."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from topotune.files import Row, write_csv, write_json, write_text
from topotune.folder import CONFIRM_COLUMNS, PRUNING_COLUMNS, StudyFolder
from topotune.report.page import write_report
from topotune.report.study import ReportStudy

TRIAL_COLUMNS = (
    "id", "state", "config_hash", "topography", "weight", "learning_rate", "weight_decay", "validation_accuracy",
    "epochs", "seconds",
)  # fmt: skip
# the mean test accuracy of each: grid2d is better than the control, sphere no different, nested2d worse
MEANS = {"none": 0.975, "grid2d": 0.983, "sphere": 0.9762, "nested2d": 0.9682}
TOPOGRAPHIES = tuple(MEANS)
SPREAD = 0.002  # between one seed and the next, so that three of them have this standard deviation
MARGIN = 0.0048  # half the width of an interval
STUDY_TOML = """
[study]
name = {name}
description = {description}
sampler = "tpe"
pruner = "hyperband"
seed = 7

[fixed]
dataset = "digits"
epochs = 27

[scientific]
topography = {{choices = ["none", "grid2d", "sphere", "nested2d"]}}
weight = {{low = 0.01, high = 10.0, log = true}}

[nuisance]
learning_rate = {{low = 0.001, high = 0.1, log = true}}
weight_decay = {{choices = [0.0, 0.0001, 0.01]}}

[objective]
metric = "validation_accuracy"

[budget]
trials = 60

[confirm]
seeds = 3

[prune]
proportions = [0.0, 0.2, 0.4, 0.6, 0.8]
"""


def trial_rows(
    count: int = 60, *, states: Sequence[str] = ("complete", "complete", "pruned", "pruned", "failed"),
    weights: Sequence[float] = (), names: Sequence[str] = TOPOGRAPHIES,
) -> list[Row]:  # fmt: skip
    """Trials whose accuracy falls off on both sides of λ = 0.3; λ is drawn log-uniformly where none are listed."""
    draw = random.Random(5)
    return [_trial(draw, number, states, weights, names) for number in range(count)]


def _trial(
    draw: random.Random, number: int, states: Sequence[str], weights: Sequence[float], names: Sequence[str]
) -> Row:
    state, name = draw.choice(states), names[number % len(names)]
    weight = 0.0 if name == "none" else draw.choice(weights) if weights else 10 ** draw.uniform(-2, 1)
    off = 0.4 if name == "none" else abs(math.log10(weight / 0.3))
    short = draw.uniform(0.02, 0.3) if state == "pruned" else 0.0
    accuracy = 0.981 - 0.012 * off - short - draw.uniform(0, 0.01)
    return {
        "id": number, "state": state, "config_hash": f"{number:04d}abcdef123456", "topography": name, "weight": weight,
        "learning_rate": 10 ** draw.uniform(-3, -1), "weight_decay": draw.choice((0.0, 0.0001, 0.01)),
        "validation_accuracy": None if state == "failed" else accuracy, "epochs": 27 if state == "complete" else 9,
        "seconds": 12.5,
    }  # fmt: skip


def confirm_rows(seeds: int = 3) -> list[Row]:
    """Test accuracies around the means, SPREAD apart."""
    return [
        {
            "topography": name, "weight": 0.0 if name == "none" else 0.3, "seed": seed,
            "test_accuracy": round(mean + SPREAD * (seed - (seeds - 1) / 2), 6), "validation_accuracy": 0.98,
            "best_epoch": 20, "epochs": 27, "seconds": 10.0, "trial": 4, "config_hash": f"cafe{seed}{name}",
            "checkpoint": f"confirm/{name}/seed{seed}",
        }
        for name, mean in MEANS.items()
        for seed in range(seeds)
    ]  # fmt: skip


def pruning_rows(seeds: int = 3) -> list[Row]:
    """Curves that fall with the proportion; seeds lie 0.01 apart, so three of them have the deviation 0.01."""
    return [
        {
            "topography": name, "weight": 0.0 if name == "none" else 0.3, "seed": seed, "criterion": "l2",
            "scope": "topographic", "finetune_epochs": 0, "config_hash": f"cafe{seed}{name}", "proportion": step / 10,
            "accuracy": 0.95 + 0.01 * seed - (0.9 - 0.1 * place) * (step / 10) ** 3,
        }
        for place, name in enumerate(TOPOGRAPHIES)
        for seed in range(seeds)
        for step in range(10)
    ]  # fmt: skip


def confirm_summary(seeds: int = 3) -> list[dict[str, Any]]:
    """What the confirmation's statistics make of these rows, the control not first."""
    return [_summary(name, seeds) for name in ("sphere", "none", "nested2d", "grid2d")]


def _summary(name: str, seeds: int) -> dict[str, Any]:
    difference, known = MEANS[name] - MEANS["none"], name != "none" and seeds > 1
    return {
        "topography": name, "weight": 0.0 if name == "none" else 0.3, "seeds": seeds, "mean": MEANS[name],
        "std": SPREAD if seeds > 1 else None, "difference": None if name == "none" else difference,
        "low": difference - MARGIN if known else None, "high": difference + MARGIN if known else None,
    }  # fmt: skip


def summary_of(trials: Sequence[Row], seeds: int, confirmed: bool) -> dict[str, Any]:
    """summary.json, as the stages so far leave it."""
    complete = [row for row in trials if row["state"] == "complete"]
    best = max(complete, key=lambda row: float(row["validation_accuracy"]), default=None)
    kept = ("id", "topography", "weight", "validation_accuracy")
    return {
        "study": "demo",
        "study_hash": "0123456789abcdef",
        "trials": {
            state: sum(row["state"] == state for row in trials)
            for state in ("complete", "pruned", "failed", "running")
        },
        "best_trial": best and {name: best[name] for name in kept},
        "provenance": {
            "git_commit": None, "data_checksum": "sha256:feed", "versions": {"torch": "2.11.0", "optuna": "5.0.0"},
            "seed": 7, "confirm_seeds": list(range(seeds)), "created": "2026-01-02T03:04:05+00:00",
        },
    } | ({"confirm": confirm_summary(seeds)} if confirmed else {})  # fmt: skip


def write(folder: StudyFolder, importances: dict[str, float] | None = None) -> Path:
    """The study's own report; its path."""
    return write_report([ReportStudy.read(folder, importances)], folder.report)


MakeStudy = Callable[..., StudyFolder]


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    """Builds ``demo``, a study's folder; ``stage`` is the last stage that has run: search, confirm or prune.

    ``trials`` holds arguments of ``trial_rows``.
    """

    def make(
        stage: str = "prune", *, trials: Mapping[str, Any] = MappingProxyType({}), seeds: int = 3, name: str = "demo",
        description: str = "Does topography help?", within: str = "studies",
    ) -> StudyFolder:  # fmt: skip
        folder = StudyFolder(tmp_path / within / "demo")
        rows = trial_rows(**trials)
        quoted = {"name": _quoted(name), "description": _quoted(description)}
        write_text(folder.study_file, STUDY_TOML.format(**quoted))
        write_csv(folder.trials_table, TRIAL_COLUMNS, rows)
        if stage in ("confirm", "prune"):
            write_csv(folder.confirm_table, CONFIRM_COLUMNS, confirm_rows(seeds))
        if stage == "prune":
            write_csv(folder.pruning_table, PRUNING_COLUMNS, pruning_rows(seeds))
        write_json(folder.summary, summary_of(rows, seeds, confirmed=stage != "search"))
        return folder

    return make


def _quoted(text: str) -> str:
    return "'''" + text + "'''"
