"""Eight studies at a time telling MLflow of their epochs: what arrives, how fast, and what that costs a trial.

    python -m tests.benchmarks.tracking [--writers 8] [--epochs 200] [--out FILE.json]

Into a SQLite file, and to MLflow's server on PostgreSQL, both begun here in folders of their own, on loopback. That
needs initdb and pg_ctl.

Each writer is a process with a study's folder of its own; an epoch is 9 metrics, all counted by reading them back.
"full speed": one epoch after the other. "paced": an epoch each 0.1 s. "killed": paced, and in the middle the server is
killed, stays away for 5 s and is started again. "away": paced, and no server at all; nothing is to arrive. A call is
Tracker.metrics, once an epoch in the driver; the share is that of its 99th percentile in an epoch of 1 s.
"""

import argparse
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import MlflowServer, Postgres, free_port, missing_postgres
from topotune.files import write_json
from topotune.tracking import Outbox, Sender, Tracker

NAMES = (
    "task_loss", "topographic_loss", "validation_accuracy", "validation_loss", "learning_rate", "seconds", "strength",
    "system/cpu_utilization_percentage", "system/system_memory_usage_megabytes",
)  # fmt: skip
PACE = 0.1  # seconds an epoch
AWAY = 5.0  # seconds that the killed server is away
PATIENCE = 300.0  # seconds for what is left at the end


@dataclass(frozen=True)
class Load:
    """What each writer does: so many epochs, one each ``pace`` seconds."""

    uri: str
    epochs: int
    pace: float


def write(load: Load, folder: Path, ready: Any, told: Any) -> None:
    """One writer, in a process of its own; it puts into ``told`` when it began, when it was done, and its calls."""
    tracker = Tracker(folder, load.uri, folder.name, lambda _text: None)
    tracker.run("trial/0", "trial 0", None, {"weight": 0.1}, {"stage": "search"})
    tracker.close(PATIENCE)  # the store is open, and mlflow imported
    ready.wait()
    began, calls = time.time(), []
    tracker = Tracker(folder, load.uri, folder.name, lambda _text: None)
    for epoch in range(1, load.epochs + 1):
        values = {name: value(epoch, place) for place, name in enumerate(NAMES)}
        before = time.perf_counter()
        tracker.metrics("trial/0", epoch, values)
        calls.append(time.perf_counter() - before)
        time.sleep(load.pace)
    tracker.end("trial/0")
    tracker.close(PATIENCE)
    told.put((began, time.time(), calls))


def value(epoch: int, place: int) -> float:
    """What is told of one metric in one epoch."""
    return epoch + place / 16


def measure(load: Load, writers: int, folder: Path, meanwhile: Callable[[], None] | None = None) -> dict[str, Any]:
    """Let so many writers write; ``meanwhile`` runs once they all have begun."""
    folders = [folder / f"{folder.name}-{number}" for number in range(writers)]
    context = multiprocessing.get_context("spawn")
    ready, told = context.Barrier(writers + 1), context.Queue()
    processes = [context.Process(target=write, args=(load, one, ready, told)) for one in folders]
    for process in processes:
        process.start()
    ready.wait(PATIENCE)
    beside = threading.Thread(target=meanwhile or (lambda: None))
    beside.start()
    times = [told.get(timeout=2 * PATIENCE) for _ in processes]
    for process in processes:
        process.join()
    beside.join()
    calls = sorted(call for _began, _done, own in times for call in own)
    took = max(done for _began, done, _calls in times) - min(began for began, _done, _calls in times)
    return {
        "points": writers * load.epochs * len(NAMES),
        "seconds": took,
        "call_median": statistics.median(calls),
        "call_99th": calls[int(0.99 * len(calls))],
    }


def arrived(load: Load, folders: Sequence[Path]) -> dict[str, int]:
    """What a reader of the store finds, once what waited was sent as ``topotune sync`` does it."""
    from mlflow.tracking import MlflowClient

    waited = points = runs = doubled = 0
    client = MlflowClient(load.uri)
    for folder in folders:
        with closing(Outbox(folder)) as outbox:
            sender = Sender(outbox, load.uri, folder.name, print)
            waited += sender.waiting()
            sender.send()
        experiment = client.get_experiment_by_name(folder.name)
        found = client.search_runs([experiment.experiment_id]) if experiment else []
        runs += len(found)
        for run in found:
            for place, name in enumerate(NAMES):
                history = [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
                points += len(set(history) & {(step, value(step, place)) for step in range(1, load.epochs + 1)})
                doubled += len(history) - len(set(history))
    return {"waited": waited, "arrived": points, "doubled": doubled, "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if missing := missing_postgres():
        sys.exit(f"PostgreSQL cannot be used here, missing: {missing}")
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # the servers end with this process
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tt", dir="/tmp")))
        postgres = Postgres()
        stack.callback(postgres.stop)
        postgres.start()
        server = MlflowServer(root, postgres.uri, workers=os.cpu_count() or 1)
        stack.callback(server.stop)
        server.start()

        def restart() -> None:
            time.sleep(options.epochs * PACE / 3)
            server.stop()
            time.sleep(AWAY)
            server.start()

        sqlite = f"sqlite:///{root / 'mlflow.db'}"
        for name, uri, pace, meanwhile in (
            ("SQLite, full speed", sqlite, 0.0, None),
            ("server, full speed", server.uri, 0.0, None),
            ("server, paced", server.uri, PACE, None),
            ("server, killed", server.uri, PACE, restart),
            ("server, away", f"http://127.0.0.1:{free_port()}", PACE, None),
        ):
            load, folder = Load(uri, options.epochs, pace), root / name.replace(", ", "-").replace(" ", "-")
            found[name] = measure(load, options.writers, folder, meanwhile)
            if "away" not in name:
                found[name] |= arrived(load, sorted(folder.iterdir()))
            _print(name, found[name])
    if options.out:
        write_json(options.out, found)
        print(options.out)


def _print(name: str, one: dict[str, Any]) -> None:
    if "arrived" in one:
        fate = f"lost {one['points'] - one['arrived']}, doubled {one['doubled']}, in {one['runs']} runs; "
        fate += f"{one['points'] / one['seconds']:.0f} points/s; {one['waited']} records waited at the end"
    else:
        fate = "kept in the outboxes"
    share = 100 * one["call_99th"]
    print(
        f"{name:20} {one['points']:7,} points: {fate}; a call takes {1e6 * one['call_median']:.0f} µs, "
        f"99th percentile {1e6 * one['call_99th']:.0f} µs ({share:.3f} % of an epoch of 1 s)",
        flush=True,
    )


if __name__ == "__main__":
    main()
