"""What the search itself costs: trials that do nothing, on a real Ray cluster and in the study alone.

    python -m tests.benchmarks.bookkeeping [--trials 300] [--slots 2] [--suggestions 10000] [--out FILE.json]

cluster       trials of one second through the real session and runner: the wall time, start-up and MLflow included,
              over trials x 1 s / slots; and the same of Ray Tune alone, with random values and without any records
suggestions   trials of no time through the study alone (TPE on the journal, successive halving, four parameters, up
              to three epochs), two running side by side: milliseconds of each step around a number of trials, the
              driver's memory, the journal's size, and seconds to open it again

Either is left out with 0.
"""

import argparse
import math
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from topotune.files import write_json, write_text
from topotune.folder import StudyFolder
from topotune.search.space import StudyFile
from topotune.search.study import Asked, Study
from topotune.search.study_file import load_study
from topotune.training import METRICS

SPACE = """
[fixed]
epochs = {epochs}
[scientific]
topography = {{choices = ["none", "grid2d", "circle", "line"]}}
weight = {{low = 0.001, high = 10.0, log = true}}
[nuisance]
learning_rate = {{low = 0.001, high = 0.3, log = true}}
momentum = {{low = 0.0, high = 0.99}}
[budget]
trials = {trials}
cpus_per_worker = {cpus}
"""
EPOCHS = 3  # of a trial without a cluster
POINTS = (10, 100, 1_000, 10_000)


def space(folder: Path, **values: float) -> tuple[StudyFile, StudyFolder]:
    path = folder / "bookkeeping.toml"
    write_text(path, SPACE.format(**values))
    return load_study(path), StudyFolder(folder / path.stem)


def sleeper(job: dict[str, Any]) -> None:
    """In place of ``search.trial.trainable``: one epoch of one second."""
    from dataclasses import asdict

    from ray import tune

    from topotune.search.trial import SEED
    from topotune.training.records import EpochMetrics

    started = time.time()
    time.sleep(1.0)
    value = min(0.99, 0.5 + job["config"]["learning_rate"])
    leave_metrics(Path(job["outs"][0]), [value])
    metrics = EpochMetrics(1, 1.0, 0.0, value, 1.0, 0.1, 1.0)
    tune.report(asdict(metrics) | {"start_seconds": started - job["suggested_at"], SEED: 0})


def leave_metrics(trial: Path, values: list[float]) -> None:
    """The file that a trial leaves, as far as the study reads it."""
    lines = [f"{epoch},1.0,{value}" for epoch, value in enumerate(values, start=1)]
    trial.mkdir(parents=True, exist_ok=True)
    (trial / METRICS).write_text("\n".join(["epoch,seconds,validation_accuracy", *lines, ""]), encoding="utf-8")


def on_cluster(trials: int, slots: int, folder: Path) -> dict[str, float]:
    """Wall time of the whole, of the search alone, and both over the ideal."""
    from topotune.search import runner
    from topotune.stages.search import _Listed, _Logged
    from topotune.stages.session import Session, Site
    from topotune.tracking import default_store

    runner.trainable = sleeper  # type: ignore[assignment]
    file, there = space(folder, epochs=1, trials=trials, cpus=(os.cpu_count() or 1) / slots)
    started = time.perf_counter()
    with Session(file, there, Site(None, "local", default_store(folder))) as session:
        wanted = session.join_cluster()
        ready = time.perf_counter()
        runner.search(session.study, None, wanted, [_Logged(session), _Listed(session.study)])
        searched = time.perf_counter() - ready
        states = {row["state"] for row in session.study.rows()}
        assert len(session.study.rows()) == trials
        assert states == {"complete"}, states
    whole, ideal = time.perf_counter() - started, trials / slots
    return {
        "trials": trials, "slots": slots, "seconds": whole, "search_seconds": searched, "over_ideal": whole / ideal,
        "search_over_ideal": searched / ideal,
    }  # fmt: skip


def bare(trials: int, slots: int, folder: Path) -> float:
    """Wall time of the same trials in Ray Tune alone over the ideal, start-up included."""
    import ray
    from ray import tune

    def sleep(config: dict[str, float]) -> None:
        time.sleep(1.0)
        tune.report({"value": config["rate"]})

    started = time.perf_counter()
    ray.init(logging_level="error", include_dashboard=False, log_to_driver=False, _temp_dir=os.environ["RAY_TMPDIR"])
    tune.Tuner(
        tune.with_resources(sleep, {"cpu": (os.cpu_count() or 1) / slots}),
        param_space={"rate": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    ).fit()
    ray.shutdown()
    return (time.perf_counter() - started) * slots / trials


class Clock:
    """Seconds of each call, by the name of what was called."""

    def __init__(self) -> None:
        self.calls: dict[str, list[float]] = defaultdict(list)

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        self.calls[name].append(time.perf_counter() - started)
        return result

    def milliseconds(self, last: int) -> dict[str, float]:
        """The medians over the last calls of each."""
        return {f"{name}_ms": 1000 * statistics.median(calls[-last:]) for name, calls in self.calls.items()}


def suggestions(trials: int, folder: Path) -> list[dict[str, float]]:
    """One row a point: what a step costs there, and what the study has come to."""
    file, there = space(folder, epochs=EPOCHS, trials=trials, cpus=1)
    study, clock, running, rows = Study(file, there), Clock(), list[Asked](), []
    started = time.perf_counter()
    for number in range(1, trials + 1):
        running.append(clock("ask", study.ask))
        if len(running) == 2:
            run(study, running.pop(0), clock)
        if number in POINTS or number == trials:
            rows.append(
                {"trials": number} | clock.milliseconds(min(100, number // 2)) | {
                    "seconds": time.perf_counter() - started,
                    "rss_mib": psutil.Process().memory_info().rss / 2**20,
                    "journal_mib": there.journal.stat().st_size / 2**20,
                }
            )  # fmt: skip
            show(rows[-1])
    run(study, running.pop(), clock)
    clock("table", study.write_table)
    study.close()
    reopened = clock("reopen", lambda: Study(file, there))
    reopened.close()
    rows[-1] |= {f"{name}_seconds": clock.calls[name][0] for name in ("table", "reopen")}
    return rows


def run(study: Study, asked: Asked, clock: Clock) -> None:
    """One trial from its first epoch to its end."""
    best = 0.9 - 0.02 * (math.log10(asked.config.learning_rate) + 1.3) ** 2 - 0.1 * (asked.config.momentum - 0.9) ** 2
    values = [best * (1 - 0.5**epoch) for epoch in range(1, EPOCHS + 1)]
    state = "complete"
    for epoch, value in enumerate(values, start=1):
        clock("report", lambda epoch=epoch, value=value: study.report(asked.number, epoch, value))
        if clock("should_prune", lambda: study.should_prune(asked.number)) and epoch < EPOCHS:
            values, state = values[:epoch], "pruned"
            break
    leave_metrics(study.folder.trial(asked.number), values)
    clock("end", lambda: study.end(asked.number, state))


STEPS = ("ask", "report", "should_prune", "end")


def show(row: dict[str, float]) -> None:
    print(f"{row['trials']:>8}", *(f"{row[f'{name}_ms']:>13.2f}" for name in STEPS), end="")
    print(f"{row['seconds']:>10.1f}{row['rss_mib']:>10.0f}{row['journal_mib']:>13.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--suggestions", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="tt", dir="/tmp", ignore_cleanup_errors=True) as name:
        if options.trials:
            os.environ.setdefault("RAY_TMPDIR", name)
            found["cluster"] = one = on_cluster(options.trials, options.slots, Path(name) / "cluster")
            print(
                f"{options.trials} trials of 1 s in {options.slots} slots: {one['seconds']:.1f} s, "
                f"{one['over_ideal']:.3f} of the ideal; the search alone {one['search_over_ideal']:.3f}; ",
                end="", flush=True,
            )  # fmt: skip
            one["bare_over_ideal"] = bare(options.trials, options.slots, Path(name) / "bare")
            print(f"Ray Tune alone {one['bare_over_ideal']:.3f}")
        if options.suggestions:
            print(f"{'trials':>8}", *(f"{name + ', ms':>13}" for name in STEPS), "  seconds  RSS, MiB  journal, MiB")
            found["suggestions"] = rows = suggestions(options.suggestions, Path(name) / "alone")
            print(f"trials.csv {rows[-1]['table_seconds']:.2f} s, opened again in {rows[-1]['reopen_seconds']:.2f} s")
    if options.out:
        write_json(options.out, found)


if __name__ == "__main__":
    main()
