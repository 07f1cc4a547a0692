"""``[confirm] per`` on a real study: the best of every combination is confirmed, and compared as one of its own."""

import json

import pytest

from tests.conftest import Cli
from tests.integration.support import rows, write_space

pytestmark = pytest.mark.slow

SPACE = """
[study]
name = "small"
sampler = "grid"
pruner = "none"
[fixed]
dataset = "digits"
epochs = 1
threads = 1
layers = "fc"
[scientific]
topography = {choices = ["none", "grid2d"]}
loss = {choices = ["ws", "as"]}
weight = {choices = [0.1, 1.0]}
[budget]
trials = 5
[confirm]
seeds = 2
per = ["loss"]
[prune]
proportions = [0.0, 0.5]
"""
VARIANTS = ["none", "grid2d loss=as", "grid2d loss=ws"]


def test_variants_are_confirmed_and_compared(cli: Cli) -> None:
    space, folder = write_space(cli.cwd, SPACE), cli.cwd / "studies" / "small"
    assert (done := cli("run", space)).returncode == 0, done.stderr
    found = rows(folder / "confirm.csv")
    assert [(row["variant"], row["seed"]) for row in found] == [(name, seed) for seed in "12" for name in VARIANTS]
    best = {row["id"]: float(row["validation_accuracy"]) for row in rows(folder / "trials.csv") if row["loss"] == "as"}
    assert {best[row["trial"]] for row in found if row["variant"] == VARIANTS[1]} == {max(best.values())}
    assert len({row["checkpoint"] for row in found}) == 6

    summary = json.loads((folder / "summary.json").read_text())
    for part in ("confirm", "pruning"):
        told = {one["topography"]: one for one in summary[part]}
        assert sorted(told) == sorted(VARIANTS)
        assert all(one["seeds"] == 2 for one in told.values())
        assert all(told[name]["difference"] is not None for name in VARIANTS[1:])
    for one in summary["confirm"]:
        own = [float(row["test_accuracy"]) for row in found if row["variant"] == one["topography"]]
        assert one["mean"] == pytest.approx(sum(own) / 2)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in VARIANTS)

    assert (done := cli("confirm", "small", "--set", "confirm.per=[]")).returncode == 0, done.stderr
    assert "confirm: nothing to do, 4 models are there" in done.stderr  # one variant is the best of its topography
    left = rows(folder / "confirm.csv")
    assert [row["variant"] for row in left] == ["none", "grid2d"] * 2
    assert {row["config_hash"] for row in left} < {row["config_hash"] for row in found}
