"""What the integration and chaos tests share: a study cut down, and looks from outside at what a study left."""

import csv
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import psutil

# like search_spaces/digits.toml, but small; two topographies, so that there is something to compare
SPACE = """
[study]
name = "small"
description = "cut down for a test"

[fixed]
dataset = "digits"
model = "small_cnn"
loss = "channel"
epochs = 6
batch_size = 64
threads = 1

[scientific]
topography = {choices = ["none", "grid2d"]}
weight = {low = 0.001, high = 10.0, log = true}

[nuisance]
learning_rate = {low = 0.001, high = 0.3, log = true}

[budget]
trials = 12
reduction_factor = 2

[confirm]
seeds = 2

[prune]
proportions = [0.0, 0.5, 1.0]
"""


def write_space(folder: Path, text: str = SPACE, name: str = "small.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def one_error(done: subprocess.CompletedProcess[str], *needles: str, code: int = 2) -> str:
    """The one line that a failed command left on standard error, which names all of ``needles``."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("topotune: error: ")
    assert "Traceback" not in done.stderr + done.stdout
    for needle in needles:
        assert needle in lines[0]
    return lines[0]


def rows(path: Path) -> list[dict[str, str]]:
    """A CSV file as the standard library reads it."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def columns(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()[0].split(",")


def snapshot(folder: Path) -> dict[str, str]:
    """Every file of a folder with the SHA-256 of its content."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def same_weights(one: Any, other: Any) -> bool:
    """Whether two networks are equal to the last bit."""
    import torch

    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def optuna_study(journal: Path) -> optuna.Study:
    """The study as Optuna itself reads it."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(journal)))
    (summary,) = storage.get_all_studies()
    return optuna.load_study(study_name=summary.study_name, storage=storage)


def ended(folder: Path) -> set[int]:
    """Numbers of the trials that the journal says are over; read as text, for a driver may be writing it."""
    journal = folder / "journal.log"
    if not journal.exists():
        return set()
    over = set()
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # half a line
        if entry["op_code"] == 6 and entry["state"] in (1, 2, 3):
            over.add(entry["trial_id"])
    return over


def wait_for(condition: Callable[[], Any], seconds: float, what: str, process: Any = None) -> Any:
    """What ``condition`` returns once it is true; fails after ``seconds``, or when ``process`` has ended before."""
    until = time.monotonic() + seconds
    while True:
        over = process is not None and process.poll() is not None
        if found := condition():
            return found
        assert not over, f"ended with {process.returncode} before {what}: {process.communicate()[1]}"
        assert time.monotonic() < until, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


def line_count(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def descendants(process: Any, pattern: str = "") -> list[psutil.Process]:
    """The processes that a command started, directly or not, whose command line matches."""
    found = []
    for one in psutil.Process(process.pid).children(recursive=True):
        try:
            if re.search(pattern, " ".join(one.cmdline())):
                found.append(one)
        except psutil.Error:
            continue  # it has just ended
    return found


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for one in processes:
        try:
            if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
        except psutil.Error:
            continue
    return found


def end(processes: list[psutil.Process]) -> None:
    """Kill these processes, each by its id."""
    for one in alive(processes):
        one.kill()


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ctrl-C, as a terminal sends it: to the whole process group. Its output and its errors."""
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=60)


def resume_words(errors: str) -> list[str]:
    """The words of the command that an interrupted one says to go on with."""
    import shlex

    first, *rest = shlex.split(errors.strip().splitlines()[-1])
    assert first == "topotune"
    return rest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tracked(store: str, experiment: str) -> tuple[Any, list[Any]]:
    """MLflow's client, and all runs of one experiment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, on its first use of a store
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=store)
        found = client.get_experiment_by_name(experiment)
    assert found is not None, f"no experiment {experiment!r} in {store}"
    return client, list(client.search_runs([found.experiment_id], max_results=1000))


def by_key(runs: list[Any]) -> dict[str, Any]:
    """The runs by the key that the tracker gives each; no key twice."""
    keys = [run.data.tags["topotune.key"] for run in runs]
    assert len(set(keys)) == len(keys), sorted(keys)
    return dict(zip(keys, runs, strict=True))
