"""Drivers, trials and ranks killed in the middle: whatever had ended stays, whatever had not goes on."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

import topotune
from tests.chaos.support import TRAINING, Standing, Started, standing
from tests.conftest import Cli
from tests.integration.support import (
    alive,
    by_key,
    ended,
    interrupt,
    line_count,
    one_error,
    optuna_study,
    resume_words,
    rows,
    same_weights,
    tracked,
    wait_for,
    write_space,
)
from topotune.search.runner import RESTARTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

TRIALS, EPOCHS = 12, 10


@pytest.fixture(scope="module")
def start(ray_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    started = Started(Cli(ray_folder, tmp_path_factory.mktemp("chaos")))
    yield started
    started.end_all()


@dataclass
class Story:
    """A study whose driver was killed again and again, with what it held after each kill."""

    folder: Path
    store: str
    kills: list[Standing] = field(default_factory=list)
    second: subprocess.CompletedProcess[str] | None = None
    last: subprocess.CompletedProcess[str] | None = None


@pytest.fixture(scope="module")
def story(start: Started) -> Story:
    """Killed in the middle of the search, while starting, and in the middle again; then left in peace.

    After the first kill the journal gets half a line and a lock that nobody holds, as a kill at a worse moment would
    leave them. While the third driver is at work, another one tries to be.
    """
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    print(f"the moments of the kills follow from seed {seed}")
    cli = start.cli
    space = write_space(cli.cwd)
    # every trial takes a second or more, so that a kill finds some at work
    settings = (f"epochs={EPOCHS}", "batch_size=16", "budget.min_epochs=4", f"budget.trials={TRIALS}")
    words = ["search", space, *(word for one in settings for word in ("--set", one))]
    story = Story(cli.cwd / "studies" / "small", f"sqlite:///{cli.cwd / 'studies' / 'mlflow.db'}")

    def kill(process: subprocess.Popen[str], more: int, seconds: float) -> None:
        """Once that many more trials have ended, and some time has passed."""
        count = len(story.kills[-1].ended) + more if story.kills else more
        wait_for(lambda: len(ended(story.folder)) >= count, 150, f"{count} ended trials", process)
        assert not wait_or_end(process, seconds), process.communicate()[1]
        start.kill_driver(process)
        story.kills.append(standing(story.folder))

    kill(start(*words), 2, chance.uniform(0, 1.5))
    with (story.folder / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code":6,"worker_id":"x","trial')
    (story.folder / "journal.log.lock").symlink_to(story.folder / "journal.log")
    kill(start(*words), 0, chance.uniform(1, 8))
    third = start(*words)
    wait_for(lambda: start.look(third, "raylet/raylet"), 60, "a cluster of the third driver", third)
    story.second = cli(*words)
    kill(third, 2, chance.uniform(0, 1.5))
    story.last = cli(*words)
    return story


def wait_or_end(process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether the process ended within ``seconds``."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_the_same_command_completes_a_study_whose_driver_was_killed(story: Story) -> None:
    assert story.last is not None
    assert story.last.returncode == 0, story.last.stderr
    assert "Traceback" not in story.last.stderr
    table = rows(story.folder / "trials.csv")
    assert [row["id"] for row in table] == [str(number) for number in range(TRIALS)]
    assert {row["state"] for row in table} <= {"complete", "pruned"}
    assert 2 <= len(story.kills[0].ended) <= len(story.kills[1].ended) < len(story.kills[2].ended) < TRIALS


def test_what_had_ended_before_a_kill_was_not_touched_again(story: Story) -> None:
    last = standing(story.folder)
    for before in story.kills:
        assert before.ended.items() <= last.ended.items()
        for number in before.ended:
            assert last.metrics[number] == before.metrics[number]


def test_what_was_running_at_a_kill_went_on_from_its_last_epoch(story: Story) -> None:
    last, seen = standing(story.folder), 0
    for before in story.kills:
        for number in before.metrics.keys() - before.ended.keys():
            # the epochs before the kill keep even their seconds: they were not trained again
            assert last.metrics[number].startswith(before.metrics[number])
            seen += 1
    assert seen


def test_every_trial_has_its_epochs_once_and_optuna_agrees(story: Story) -> None:
    trials = optuna_study(story.folder / "journal.log").trials
    assert len(trials) == TRIALS
    for trial, row in zip(trials, rows(story.folder / "trials.csv"), strict=True):
        own = rows(story.folder / "trials" / f"{trial.number:05d}" / "metrics.csv")
        assert [int(one["epoch"]) for one in own] == list(range(1, int(row["epochs"]) + 1))
        assert trial.state.name.lower() == row["state"]
        assert trial.intermediate_values == {int(one["epoch"]): float(one["validation_accuracy"]) for one in own}
        assert row["state"] == "pruned" or int(row["epochs"]) == EPOCHS


def test_every_topography_still_has_a_complete_trial(story: Story) -> None:
    complete = {row["topography"] for row in rows(story.folder / "trials.csv") if row["state"] == "complete"}
    assert complete == {"none", "grid2d"}


def test_no_setting_was_tried_twice(story: Story) -> None:
    hashes = [row["config_hash"] for row in rows(story.folder / "trials.csv")]
    assert len(set(hashes)) == TRIALS


def test_mlflow_has_one_run_a_trial(story: Story) -> None:
    client, found = tracked(story.store, "small")
    runs = by_key(found)  # no key twice
    assert runs.keys() == {"study", *(f"trial/{number}" for number in range(TRIALS))}
    for row in rows(story.folder / "trials.csv"):
        run = runs[f"trial/{row['id']}"]
        assert run.info.status == {"complete": "FINISHED", "pruned": "KILLED"}[row["state"]]
        assert run.data.tags["mlflow.parentRunId"] == runs["study"].info.run_id
        steps = [one.step for one in client.get_metric_history(run.info.run_id, "validation_accuracy")]
        assert sorted(steps) == list(range(1, int(row["epochs"]) + 1))


def test_a_second_driver_of_the_same_study_is_refused(story: Story) -> None:
    assert story.second is not None
    one_error(story.second, "study 'small' is being worked on by another process", "--fresh")


@pytest.mark.parametrize(("workers", "victim"), [(1, r"ray::ImplicitFunc"), (2, r"ray::_Rank")])
def test_a_trial_whose_process_is_killed_goes_on_from_its_checkpoint(start: Started, workers: int, victim: str) -> None:
    cli, name, epochs = start.cli, f"rank-{workers}", 24
    space = write_space(cli.cwd, SINGLE.format(name=name, epochs=epochs), f"{name}.toml")
    process = start("search", space, "--workers", workers)
    folder = cli.cwd / "studies" / name
    trial = folder / "trials" / "00000"
    wait_for(lambda: line_count(trial / "metrics.csv") > 3, 120, "3 epochs", process)
    (target,) = start.look(process, victim)
    target.kill()
    kept = (trial / "metrics.csv").read_bytes()
    assert len(kept.splitlines()) <= epochs
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert errors.count("trial 0 none seed=0:") == 2, errors  # that it went on, and that it ended
    assert "it goes on from its last checkpoint" in errors
    (row,) = rows(folder / "trials.csv")
    assert (row["state"], row["epochs"], row["reason"]) == ("complete", str(epochs), "")
    assert (trial / "metrics.csv").read_bytes().startswith(kept)
    own = rows(trial / "metrics.csv")
    assert [int(one["epoch"]) for one in own] == list(range(1, epochs + 1))
    client, found = tracked(f"sqlite:///{cli.cwd / 'studies' / 'mlflow.db'}", name)
    runs = by_key(found)
    assert runs.keys() == {"study", "trial/0"}
    steps = [one.step for one in client.get_metric_history(runs["trial/0"].info.run_id, "validation_accuracy")]
    assert sorted(steps) == list(range(1, epochs + 1))

    config = json.loads((trial / "config.json").read_text())
    words = [word for key, value in config.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    undisturbed = cli("train", "--out", f"undisturbed-{workers}", *words)
    assert undisturbed.returncode == 0, undisturbed.stderr
    other = cli.cwd / f"undisturbed-{workers}"
    assert [{**one, "seconds": ""} for one in rows(other / "metrics.csv")] == [{**one, "seconds": ""} for one in own]
    assert same_weights(topotune.load_checkpoint(trial), topotune.load_checkpoint(other))


def test_a_trial_whose_process_is_killed_again_and_again_is_not_given_up(start: Started) -> None:
    """As on machines that are taken away: more often than a trial that gets nowhere would be started again."""
    cli, epochs = start.cli, 60
    space = write_space(cli.cwd, SINGLE.format(name="again", epochs=epochs), "again.toml")
    process = start("search", space)
    trial = cli.cwd / "studies" / "again" / "trials" / "00000"
    killed: set[int] = set()
    for _ in range(RESTARTS + 2):
        before = line_count(trial / "metrics.csv")
        wait_for(lambda: line_count(trial / "metrics.csv") > before + 1, 120, "an epoch", process)  # noqa: B023
        (target,) = [one for one in start.look(process, r"ray::ImplicitFunc") if one.pid not in killed]
        killed.add(target.pid)
        target.kill()
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert errors.count("it goes on from its last checkpoint") == RESTARTS + 2
    (row,) = rows(cli.cwd / "studies" / "again" / "trials.csv")
    assert (row["state"], row["epochs"]) == ("complete", str(epochs))


# one trial of the control
SINGLE = """
[study]
name = "{name}"
[fixed]
dataset = "digits"
epochs = {epochs}
batch_size = 64
learning_rate = 0.05
threads = 1
[budget]
trials = 1
"""


# the real command line, but that its process is gone before one record reaches MLflow's outbox
DIES = """
import os, sys
from topotune.cli import main
from topotune.tracking import Tracker

def append(self, kind, key, at=None, **content):
    if (kind, key, content.get("step")) == {moment!r}:
        os._exit(9)
    real(self, kind, key, at, **content)

real, Tracker._append = Tracker._append, append
sys.exit(main())
"""


@pytest.mark.parametrize("moment", [("metrics", "trial/0", 2), ("end", "trial/0", None)], ids=["epoch", "end"])
def test_what_the_study_knows_reaches_mlflow_whenever_the_driver_dies(
    start: Started, moment: tuple[str, str, int | None]
) -> None:
    cli, name = start.cli, f"dies-{moment[0]}"
    space = write_space(cli.cwd, SINGLE.format(name=name, epochs=4), f"{name}.toml")
    command = [sys.executable, "-c", DIES.format(moment=moment), "search", str(space)]
    died = subprocess.Popen(command, cwd=cli.cwd, env=cli.env, stderr=subprocess.PIPE, text=True)
    cluster: set[psutil.Process] = set()
    wait_for(lambda: cluster.update(start.look(died, TRAINING)) or died.poll() is not None, 150, "its death")
    assert died.returncode == 9, died.communicate()[1]
    died.communicate()
    wait_for(lambda: not alive(list(cluster)), 60, "the end of its cluster")
    again = cli("search", space)
    assert again.returncode == 0, again.stderr
    client, found = tracked(f"sqlite:///{cli.cwd / 'studies' / 'mlflow.db'}", name)
    run = by_key(found)["trial/0"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["state"] == "complete"
    own = rows(cli.cwd / "studies" / name / "trials" / "00000" / "metrics.csv")
    for metric in ("validation_accuracy", "learning_rate", "seconds"):
        history = client.get_metric_history(run.info.run_id, metric)
        assert sorted((one.step, one.value) for one in history) == [
            (int(one["epoch"]), float(one[metric])) for one in own
        ]
    assert "best_validation_accuracy" in run.data.metrics


def test_ctrl_c_during_search_and_confirm_names_the_command_that_goes_on(start: Started) -> None:
    cli = start.cli
    space = write_space(cli.cwd)
    settings = ("study.name=stopped", "epochs=8", "budget.trials=4", "prune.proportions=[0.0]")
    words = ["run", str(space), *(word for one in settings for word in ("--set", one))]
    folder = cli.cwd / "studies" / "stopped"

    def stopped(process: subprocess.Popen[str]) -> list[str]:
        cluster = start.look(process, TRAINING)
        _, errors = interrupt(process)
        assert process.returncode == 130, errors
        assert "Traceback" not in errors
        assert "nothing that was finished is lost" in errors
        wait_for(lambda: not alive(cluster), 30, "the end of the cluster")
        return resume_words(errors)

    process = start(*words)
    wait_for(lambda: ended(folder), 120, "an ended trial", process)
    resume = stopped(process)
    assert resume == words
    searched = standing(folder)
    assert 0 < len(searched.ended) < 4

    process = start(*resume)
    wait_for(lambda: line_count(folder / "confirm.csv") > 1, 150, "a confirmed model", process)
    resume = stopped(process)
    confirmed = rows(folder / "confirm.csv")
    assert 1 <= len(confirmed) < 4

    done = cli(*resume)
    assert done.returncode == 0, done.stderr
    assert "search: nothing to do" in done.stderr
    last = standing(folder)
    assert searched.ended.items() <= last.ended.items()
    assert (
        len(rows(folder / "trials.csv")) == len(rows(folder / "confirm.csv")) == len(rows(folder / "pruning.csv")) == 4
    )
    assert all(row in rows(folder / "confirm.csv") for row in confirmed)
    assert (folder / "report.html").is_file()
    runs = by_key(tracked(f"sqlite:///{cli.cwd / 'studies' / 'mlflow.db'}", "stopped")[1])
    assert len(runs) == 1 + 4 + 4 + 4
    assert runs["study"].info.status == "FINISHED"


def test_sigterm_during_search_ends_everything_and_the_same_command_goes_on(start: Started) -> None:
    """As a scheduler sends it: to the driver alone. Nothing that it started stays, and no trial is tried twice."""
    cli = start.cli
    space = write_space(cli.cwd)
    settings = ("study.name=terminated", "epochs=8", "batch_size=16", "budget.trials=4", "confirm.seeds=1",
                "prune.proportions=[0.0]")  # fmt: skip
    words = ["run", str(space), *(word for one in settings for word in ("--set", one))]
    folder = cli.cwd / "studies" / "terminated"
    process = start(*words)
    wait_for(lambda: ended(folder), 120, "an ended trial", process)
    everything = start.look(process)
    assert [one for one in everything if one in start.look(process, TRAINING)]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 143, errors
    assert "Traceback" not in errors
    assert "nothing that was finished is lost" in errors
    assert resume_words(errors) == words
    wait_for(lambda: not alive(everything) and not in_session(process.pid), 30, "the end of all that it started")
    searched = standing(folder)
    assert 0 < len(searched.ended) < 4

    done = cli(*words)
    assert done.returncode == 0, done.stderr
    last = standing(folder)
    assert searched.ended.items() <= last.ended.items()
    table = rows(folder / "trials.csv")
    assert [row["id"] for row in table] == ["0", "1", "2", "3"]
    assert len({row["config_hash"] for row in table}) == 4
    assert {row["state"] for row in table} <= {"complete", "pruned"}
    assert (folder / "report.html").is_file()


def in_session(leader: int) -> list[psutil.Process]:
    """The processes that are alive in the session that a command began."""
    found = []
    for one in psutil.process_iter():
        with suppress(ProcessLookupError):
            if os.getsid(one.pid) == leader:
                found.append(one)
    return alive(found)
