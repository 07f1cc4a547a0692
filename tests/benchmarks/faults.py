"""What is lost when drivers, workers and nodes are killed at random moments of one study, through the real CLI.

    python -m tests.benchmarks.faults [--drivers 25] [--workers 25] [--nodes 5] [--seed N] [--out FILE.json]

One study of short trials on the digits goes on through all of it: a driver is killed while it starts (one time in
four) or a moment after it has trained; a trial's process; a node, of a head and two more with one CPU each, on this
machine. In the end the study is left in peace, and Optuna's journal, the trials' own files, trials.csv and MLflow are
compared.

lost          trials that did not end, or failed, or are missing somewhere
twice         trials of one and the same setting, or that had ended at a kill and changed later
epochs again  epochs that a trial's file held at a kill and that were trained once more: at most one a trial and kill,
              where the kill fell between the epoch's record and its checkpoint
differences   everything else in which the four disagree
"""

import argparse
import os
import random
import secrets
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from tests.chaos.support import TRAINING, Nodes, Standing, Started, standing
from tests.conftest import Cli
from tests.integration.support import ended, interrupt, line_count, optuna_study, rows, tracked, wait_for, write_space
from topotune.files import write_json, write_text
from topotune.folder import StudyFolder
from topotune.search.runner import RESTARTS
from topotune.training import METRICS

EPOCHS = 3
SPACE = f"""
[fixed]
dataset = "digits"
model = "small_cnn"
epochs = {EPOCHS}
batch_size = 64
threads = 1
[scientific]
topography = {{choices = ["none", "grid2d"]}}
weight = {{low = 0.001, high = 10.0, log = true}}
[nuisance]
learning_rate = {{low = 0.001, high = 0.3, log = true}}
[budget]
trials = 1_000_000
reduction_factor = 2
"""
PATIENCE = 180.0  # seconds within which something must happen
WORKER = r"ray::ImplicitFunc"


@dataclass
class Victim:
    """The study that everything happens to, and what it held after each kill."""

    start: Started
    chance: random.Random
    words: list[str]
    folder: StudyFolder
    kills: list[Standing] = field(default_factory=list)
    hits: Counter[int] = field(default_factory=Counter)  # trial -> kills that may have been of its process

    @cached_property
    def trials(self) -> list[Any]:
        """As Optuna has them, once nothing happens any more."""
        return optuna_study(self.folder.journal).trials

    def begin(self, *more: object) -> subprocess.Popen[str]:
        return self.start(*self.words, *more)

    def epochs(self) -> int:
        """How many were trained so far."""
        files = list(self.folder.path.glob("trials/*/metrics.csv"))
        return sum(map(line_count, files)) - len(files)

    def training(self, process: subprocess.Popen[str]) -> None:
        """Wait until one more trial has ended, and a random moment."""
        count = len(ended(self.folder.path)) + 1
        wait_for(lambda: len(ended(self.folder.path)) >= count, PATIENCE, f"{count} ended trials", process)
        time.sleep(self.chance.uniform(0, 2))

    def hit(self, process: subprocess.Popen[str]) -> None:
        """Wait until a kill can fail no trial: one whose process died more often than it is restarted ends so."""
        wait_for(lambda: all(self.hits[one] < RESTARTS for one in self.running()), PATIENCE, "the end of one", process)
        self.hits.update(self.running())

    def running(self) -> list[int]:
        return [one.number for one in optuna_study(self.folder.journal).trials if one.state == TrialState.RUNNING]

    def note(self) -> None:
        self.kills.append(standing(self.folder.path))


def victim(folder: Path, seed: int) -> Victim:
    cli = Cli(folder / "ray", folder)
    space = write_space(folder, SPACE, "faults.toml")
    there = StudyFolder(folder / "studies" / "faults")
    return Victim(Started(cli), random.Random(seed), ["search", str(space)], there)


def kill_drivers(study: Victim, times: int) -> None:
    for _ in range(times):
        before, starting = study.epochs(), study.chance.random() < 0.25
        process = study.begin()
        if starting:
            time.sleep(study.chance.uniform(0.5, 12))
        else:
            wait_for(lambda: study.epochs() > before, PATIENCE, "an epoch", process)  # noqa: B023
            time.sleep(study.chance.uniform(0, 3))
        study.start.kill_driver(process)
        if study.folder.journal.exists():
            study.note()


def kill_workers(study: Victim, times: int) -> None:
    process = study.begin()
    for _ in range(times):
        study.training(process)
        study.hit(process)
        found = wait_for(lambda: study.start.look(process, WORKER), PATIENCE, "a trial's process", process)
        study.chance.choice(found).kill()
        study.note()
    _stop(study, process)


def kill_nodes(study: Victim, times: int) -> None:
    nodes = Nodes(study.start.cli.env, 1)
    try:
        nodes.add()
        nodes.add()
        process = study.begin("--address", nodes.address)
        for _ in range(times):
            study.training(process)
            study.hit(process)
            nodes.kill_one(study.chance)
            study.note()
            nodes.add()
        study.training(process)
        _stop(study, process)
    finally:
        nodes.end()


def _stop(study: Victim, process: subprocess.Popen[str]) -> None:
    """Ctrl-C, and the end of what the command had started."""
    study.start.look(process, TRAINING)
    _, errors = interrupt(process)
    assert process.returncode == 130, errors


def finish(study: Victim) -> None:
    """Leave the study in peace for some trials more."""
    trials = len(study.kills[-1].metrics) + 4
    done = study.start.cli(*study.words, "--set", f"budget.trials={trials}")
    assert done.returncode == 0, done.stderr


def compare(study: Victim) -> dict[str, Any]:
    """What was lost, what was done twice, and where the study's records differ."""
    last, every = standing(study.folder.path), rows(study.folder.trials_table)
    table = [row for row in every if row["state"] != "repeated"]  # which got what came of an earlier trial
    there = [row for row in table if row["state"] in ("complete", "pruned") and int(row["id"]) in last.ended]
    lost = [f"trial {row['id']}: {row['state']}: {row['reason']}" for row in table if row not in there]
    changed = {
        number for kill in study.kills for number, record in kill.ended.items()
        if last.ended.get(number) != record or last.metrics.get(number) != kill.metrics.get(number)
    }  # fmt: skip
    settings = Counter(row["config_hash"] for row in there)
    whole = [int(row["id"]) for row in every] == list(range(len(every))) and len(last.ended) == len(every)
    differences = [] if whole else ["trials.csv does not list the journal's trials"]
    differences += lost + [what for row in there for what in _own_differences(study, row)]
    return {
        "trials": len(table), "repeated": len(every) - len(table), "lost": len(lost),
        "twice": len(changed) + sum(settings.values()) - len(settings),
        "epochs_again": _again([*study.kills, last]), "differences": differences + _tracked_differences(study, there),
    }  # fmt: skip


def _again(looks: list[Standing]) -> int:
    """Epochs whose record is another at the next look: at least the seconds of a second training are."""
    return sum(
        old != new
        for before, after in pairwise(looks)
        for number, content in before.metrics.items()
        for old, new in zip(content.splitlines(), after.metrics[number].splitlines(), strict=False)
    )


def _own_differences(study: Victim, row: dict[str, str]) -> list[str]:
    """Journal, metrics.csv and trials.csv of one trial."""
    number = int(row["id"])
    trial = study.trials[number]
    own = {int(one["epoch"]): float(one["validation_accuracy"]) for one in rows(study.folder.trial(number) / METRICS)}
    checks = {
        "epochs": list(own) == list(range(1, int(row["epochs"]) + 1)),
        "values": trial.intermediate_values == own,
        "best": float(row["validation_accuracy"]) == max(own.values()),
        "state": trial.state.name.lower() == row["state"],
        "end": row["state"] == "pruned" or len(own) == EPOCHS,
    }
    return [f"trial {number}: {name}" for name, right in checks.items() if not right]


def _tracked_differences(study: Victim, table: list[dict[str, str]]) -> list[str]:
    """MLflow's runs: one a trial, with its end, and each epoch once with its value."""
    client, found = tracked(f"sqlite:///{study.folder.path.parent / 'mlflow.db'}", study.folder.name)
    runs: dict[str, list[Any]] = defaultdict(list)
    for run in found:
        runs[run.data.tags["topotune.key"]].append(run)
    differences = [f"MLflow: {len(own)} runs of {key}" for key, own in runs.items() if len(own) > 1]
    differences += [
        f"MLflow: {key} is of no trial" for key in set(runs) - {"study", *(f"trial/{one['id']}" for one in table)}
    ]
    for row in table:
        number, own = int(row["id"]), runs.get(f"trial/{row['id']}", [])
        if not own:
            differences.append(f"MLflow: no run of trial {number}")
            continue
        told = client.get_metric_history(own[0].info.run_id, "validation_accuracy")
        if sorted((one.step, one.value) for one in told) != sorted(study.trials[number].intermediate_values.items()):
            differences.append(
                f"MLflow: epochs of trial {number}: {sorted(one.step for one in told)} of {row['epochs']}"
            )
        if own[0].info.status != {"complete": "FINISHED", "pruned": "KILLED"}.get(row["state"]):
            differences.append(f"MLflow: trial {number} is {row['state']} and {own[0].info.status}")
    return differences


def run(folder: Path, seed: int, kills: dict[str, int]) -> dict[str, Any]:
    """Kill so many of each, then compare."""
    study, seconds = victim(folder, seed), {}
    try:
        for kind, times in kills.items():
            started = time.monotonic()
            if times:
                KILLS[kind](study, times)
            seconds[kind] = round(time.monotonic() - started)
            print(f"{times} {kind} killed in {seconds[kind]} s; {len(ended(study.folder.path))} trials", flush=True)
        finish(study)
        return {"kills": kills, "seed": seed, "seconds": seconds} | compare(study)
    finally:
        study.start.end_all()


KILLS = {"drivers": kill_drivers, "workers": kill_workers, "nodes": kill_nodes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, times in (("drivers", 25), ("workers", 25), ("nodes", 5)):
        parser.add_argument(f"--{kind}", type=int, default=times)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print(f"the moments follow from --seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tt", dir="/tmp", ignore_cleanup_errors=True) as name:
        os.environ |= environment(Path(name))
        found = run(Path(name), options.seed, {kind: getattr(options, kind) for kind in KILLS})
    print(
        *(f"{name.replace('_', ' ')}: {found[name]}" for name in ("trials", "lost", "twice", "epochs_again")), sep="\n"
    )
    print("differences:", *(found["differences"] or ["none"]), sep="\n  ")
    if options.out:
        write_json(options.out, found)


def environment(folder: Path) -> dict[str, str]:
    """What Ray and the data cache must be told, here and in the commands: own folders, and a token of their own."""
    write_text(folder / "token", secrets.token_hex(32))
    return {
        "RAY_TMPDIR": str(folder / "ray"), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_USAGE_STATS_ENABLED": "0", "TOPOTUNE_CACHE": str(folder / "cache"),
    }  # fmt: skip


if __name__ == "__main__":
    main()
