"""Ours against Ray Tune with its own OptunaSearch and ASHAScheduler, on the same training of a small network.

    python -m tests.benchmarks.against_ray [--repetitions 20] [--trials 60] [--epochs 6] [--slots 2] [--out FILE.json]

Each runs on a fresh local cluster, timed once that is there; the order changes with the repetition, which is the seed
of both samplers (TPE with the same options). Both train by ``topotune.training.fit`` in reused actors, with
checkpoints, and stop by successive halving (first rung 1, factor 2). Ours also does what the other does not: the
control first and to its end, the journal on disk, MLflow, trials.csv.

speed     trials an hour, ours over the other's: geometric mean of the repetitions, with its 95% interval
best      the best validation accuracy within the epochs that both have trained, ours minus the other's, in
          percentage points: mean, with its 95% interval
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from scipy import stats

from topotune.config import TrialConfig
from topotune.files import write_json, write_text
from topotune.folder import StudyFolder
from topotune.search import runner
from topotune.search.scheduler import make_sampler
from topotune.search.space import StudyFile
from topotune.search.study import Asked
from topotune.search.study_file import load_study
from topotune.search.watch import Watcher
from topotune.stages.search import _Listed, _Logged
from topotune.stages.session import Session, Site
from topotune.tracking import default_store

TOPOGRAPHIES = ("none", "grid2d", "circle")
WEIGHT, RATE = (0.001, 10.0), (0.001, 0.3)
SPACE = """
[fixed]
dataset = "digits"
epochs = {epochs}
batch_size = 64
threads = 1
[scientific]
topography = {{choices = {topographies}}}
weight = {{low = {weight[0]}, high = {weight[1]}, log = true}}
[nuisance]
learning_rate = {{low = {rate[0]}, high = {rate[1]}, log = true}}
[budget]
trials = {trials}
reduction_factor = 2
cpus_per_worker = {cpus}
"""


class Heard(Watcher):
    """The values that a search of ours reports, in their order."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def epoch_done(self, asked: Asked, metrics: dict[str, Any]) -> None:
        self.values.append(metrics["validation_accuracy"])


class HeardByTune(tune.Callback):
    """The same of the other's."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **more: Any
    ) -> None:
        self.values.append(result["validation_accuracy"])


def trainable(job: dict[str, Any]) -> None:
    """The function that one hands to Tune."""
    from dataclasses import asdict

    from topotune.training.fit import fit

    weight = 0.0 if job["topography"] == "none" else job["weight"]
    config = TrialConfig.from_dict(job["fixed"]).replace(
        topography=job["topography"], weight=weight, learning_rate=job["learning_rate"]
    )
    folder = Path(job["folder"]) / tune.get_context().get_trial_id()
    fit(config, folder, report=lambda metrics: tune.report(asdict(metrics)))


def ours(file: StudyFile, folder: Path) -> tuple[float, list[float]]:
    """Seconds of the search, and what it reported."""
    heard, site = Heard(), Site(None, "local", default_store(folder))
    with Session(file, StudyFolder(folder / file.name), site) as session:
        wanted = session.join_cluster()
        started = time.perf_counter()
        runner.search(session.study, None, wanted, [heard, _Logged(session), _Listed(session.study)])
        return time.perf_counter() - started, heard.values


def theirs(file: StudyFile, folder: Path) -> tuple[float, list[float]]:
    """The same of Tune by itself."""
    heard, metric = HeardByTune(), "validation_accuracy"
    options = {"metric": metric, "mode": "max"}
    sampler = make_sampler(file, file.option("study", "seed"))
    with runner.cluster("local"):
        wanted = runner.resources(file)
        tuner = tune.Tuner(
            tune.with_resources(trainable, tune.PlacementGroupFactory(wanted.bundles)),
            param_space={
                "topography": tune.choice(TOPOGRAPHIES), "weight": tune.loguniform(*WEIGHT),
                "learning_rate": tune.loguniform(*RATE), "fixed": file.constants, "folder": str(folder / "trials"),
            },
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(sampler=sampler, **options), num_samples=file.option("budget", "trials"),
                scheduler=ASHAScheduler("epoch", max_t=file.epochs, grace_period=1, reduction_factor=2, **options),
                max_concurrent_trials=wanted.slots(), reuse_actors=True,
            ),
            run_config=tune.RunConfig(name="theirs", storage_path=str(folder), verbose=0, callbacks=[heard]),
        )  # fmt: skip
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        started = time.perf_counter()
        tuner.fit()
        return time.perf_counter() - started, heard.values


def compare(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """One repetition."""
    searches, found = [("ours", ours), ("theirs", theirs)], {}
    for name, search in searches if seed % 2 else reversed(searches):
        with tempfile.TemporaryDirectory(prefix="tt", dir="/tmp", ignore_cleanup_errors=True) as folder:
            text = SPACE.format(
                epochs=options.epochs, trials=options.trials, topographies=list(TOPOGRAPHIES), weight=WEIGHT, rate=RATE,
                cpus=(os.cpu_count() or 1) / options.slots,
            )  # fmt: skip
            write_text(Path(folder) / "against.toml", text)
            file = load_study(Path(folder) / "against.toml", {"study.seed": seed})
            found[name] = search(file, Path(folder))
    epochs = min(len(values) for _seconds, values in found.values())
    row: dict[str, float] = {"seed": seed, "epochs": epochs}
    for name, (seconds, values) in found.items():
        row |= {
            f"{name}_an_hour": 3600 * options.trials / seconds, f"{name}_epochs_an_hour": 3600 * len(values) / seconds,
            f"{name}_best": max(values[:epochs]),
        }  # fmt: skip
    return row


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the ends of its 95% interval (t)."""
    mean = sum(values) / len(values)
    low, high = stats.t.interval(0.95, len(values) - 1, mean, stats.sem(values))
    return mean, float(low), float(high)


def summary(rows: Sequence[dict[str, float]]) -> dict[str, tuple[float, float, float]]:
    def ratio(name: str) -> tuple[float, float, float]:
        mean, low, high = interval([math.log(row[f"ours_{name}"] / row[f"theirs_{name}"]) for row in rows])
        return math.exp(mean), math.exp(low), math.exp(high)

    best = interval([100 * (row["ours_best"] - row["theirs_best"]) for row in rows])
    return {"trials_an_hour": ratio("an_hour"), "epochs_an_hour": ratio("epochs_an_hour"), "best_points": best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("repetitions", 20), ("trials", 60), ("epochs", 6), ("slots", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, float]] = []
    print(f"{'seed':>4} {'ours':>8} {'theirs':>8} trials an hour  best within {'epochs':>6} {'ours':>7} {'theirs':>7}")
    for seed in range(options.repetitions):
        row = compare(seed, options)
        rows.append(row)
        print(
            f"{seed:4} {row['ours_an_hour']:8.0f} {row['theirs_an_hour']:8.0f} {'':27}{row['epochs']:6.0f} "
            f"{row['ours_best']:7.4f} {row['theirs_best']:7.4f}",
            flush=True,
        )
    if len(rows) > 1:
        for name, (mean, low, high) in summary(rows).items():
            print(f"{name:16} {mean:+.3f} ({low:+.3f} to {high:+.3f})")
    if options.out:
        write_json(options.out, {"repetitions": rows, "summary": summary(rows) if len(rows) > 1 else {}})


if __name__ == "__main__":
    main()
