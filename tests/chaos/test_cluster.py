"""A study sent to a cluster of a head and three nodes, each with an address of its own, while machines die and others
join: two ranks a trial and one CPU a node, so that every trial stands on two nodes."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.benchmarks.faults import environment
from tests.chaos.support import Nodes, Started
from tests.conftest import Cli
from tests.integration.support import by_key, free_port, line_count, optuna_study, rows, tracked, wait_for, write_space
from topotune.training import METRICS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRIALS, EPOCHS = 2, 16
SPACE = f"""
[study]
name = "fleet"
pruner = "none"
[fixed]
dataset = "digits"
epochs = {EPOCHS}
batch_size = 128
threads = 1
workers = 2
[nuisance]
learning_rate = {{low = 0.01, high = 0.1, log = true}}
[budget]
trials = {TRIALS}
[confirm]
seeds = 1
[prune]
proportions = [0.0]
"""
FIRST, SECOND = r"ray::ImplicitFunc", r"ray::_Rank"  # the processes of a trial's ranks
PATIENCE = 240.0  # seconds within which something must happen


class Fleet:
    """A cluster, somebody who sends it a study, and what a trial's file held at each kill."""

    def __init__(self, cli: Cli, token: str) -> None:
        self.start, self.space = Started(cli), write_space(cli.cwd, SPACE, "fleet.toml")
        self.folder = cli.cwd / "shared" / "fleet"
        self.kept: list[tuple[int, bytes]] = []
        self._token, self._port = token, free_port()
        self.nodes: Nodes | None = None

    def head(self) -> Nodes:
        """A new head without CPUs, at an address that stays the same; it takes jobs."""
        self.nodes = Nodes(self.start.cli.env, 0, self._port)
        asked = urllib.request.Request(f"http://127.0.0.1:{self._port}/api/jobs/")
        asked.add_header("Authorization", f"Bearer {self._token}")

        def answers() -> bool:
            with suppress(OSError):
                urllib.request.urlopen(asked, timeout=5).close()
                return True
            return False

        wait_for(answers, PATIENCE, "a dashboard")
        return self.nodes

    def end(self) -> None:
        if self.nodes:
            self.nodes.end()
        self.start.end_all()

    def submit(self) -> "subprocess.Popen[str]":
        there = ("--address", f"http://127.0.0.1:{self._port}", "--studies", self.folder.parent)
        return self.start("submit", self.space, *there)

    def metrics(self, trial: int) -> Path:
        return self.folder / "trials" / f"{trial:05d}" / METRICS

    def trained(self, trial: int, more: int, process: "subprocess.Popen[str]") -> None:
        """Wait for that many more epochs of a trial."""
        path = self.metrics(trial)
        count = max(line_count(path), 1) + more
        wait_for(lambda: line_count(path) >= count, PATIENCE, f"epoch {count - 1} of trial {trial}", process)

    def strike(self, trial: int, kill: Callable[[], None]) -> None:
        kill()
        self.kept.append((trial, self.metrics(trial).read_bytes()))


@pytest.fixture
def fleet(ray_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    told = environment(ray_folder / "fleet")
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    cli = Cli(Path(told["RAY_TMPDIR"]), tmp_path)
    cli.env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # jobs run what they find as python
    found = Fleet(cli, Path(told["RAY_AUTH_TOKEN_PATH"]).read_text())
    yield found
    found.end()


def test_a_submitted_study_outlives_its_nodes(fleet: Fleet) -> None:
    nodes, begun = fleet.head(), time.monotonic()
    job = fleet.submit()  # before there is a machine to train on
    assert job.stdout
    wanted = "workers = 2 with 1 CPU each is more than the cluster has: 0 CPU on 1 node(s); machines have 10 minutes"
    assert any(line.startswith(wanted) for line in job.stdout)
    for _ in range(3):
        nodes.add()
    fleet.trained(0, 3, job)
    print(f"{time.monotonic() - begun:.1f} s from submit to the third epoch, with nodes that start meanwhile")
    fleet.strike(0, lambda: nodes.kill_with(SECOND))
    fleet.trained(0, 3, job)  # on the two nodes that are left
    fleet.strike(0, lambda: nodes.kill_with(FIRST))
    nodes.add()  # for one is too few
    output, errors = job.communicate(timeout=PATIENCE)
    assert job.returncode == 0, output + errors
    assert output.count("it goes on from its last checkpoint") >= 2
    print(errors)  # what was sent
    complete(fleet)


def test_a_study_goes_on_when_it_is_submitted_to_a_new_head(fleet: Fleet) -> None:
    nodes = fleet.head()
    nodes.add()
    nodes.add()
    job = fleet.submit()
    fleet.trained(1, 3, job)
    fleet.strike(1, nodes.end)
    nodes = fleet.head()
    _, errors = job.communicate(timeout=PATIENCE)
    assert job.returncode == 2, errors
    assert "trying again" in errors
    assert errors.rstrip().endswith("where its head was started anew, submit the study again: it goes on")
    nodes.add()
    nodes.add()
    output, errors = fleet.submit().communicate(timeout=PATIENCE)
    assert f"report:  {fleet.folder / 'report.html'}\n" in output, output + errors
    complete(fleet)


def complete(fleet: Fleet) -> None:
    """No trial was lost or failed, each kill cost at most one epoch, and all records agree."""
    table = rows(fleet.folder / "trials.csv")
    assert [(row["state"], row["epochs"]) for row in table] == [("complete", str(EPOCHS))] * TRIALS
    for trial in optuna_study(fleet.folder / "journal.log").trials:
        own = rows(fleet.metrics(trial.number))
        assert [int(one["epoch"]) for one in own] == list(range(1, EPOCHS + 1))
        assert trial.intermediate_values == {int(one["epoch"]): float(one["validation_accuracy"]) for one in own}
    for trial, before in fleet.kept:
        then, now = before.splitlines(), fleet.metrics(trial).read_bytes().splitlines()
        again = sum(old != new for old, new in zip(then, now, strict=False))  # their seconds are others, at least
        print(f"trial {trial}, killed after epoch {len(then) - 1}: {again} epochs trained again")
        assert again <= 1
    _, runs = tracked(f"sqlite:///{fleet.folder.parent / 'mlflow.db'}", "fleet")
    assert {run.info.status for run in by_key(runs).values()} == {"FINISHED"}
