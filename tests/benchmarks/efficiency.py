"""Epochs that a search needs to find what a full grid finds: 12 λ x 7 topographies and the control, on the digits.

    python -m tests.benchmarks.efficiency [--repetitions 20] [--out FILE.json]
    python -m tests.benchmarks.efficiency --record      # trains the grid anew: 255 trainings, 5 minutes of one core

Every point of the grid was trained for real on three seeds; learning curves and the accuracy after pruning stand in
``data/digits_grid.csv``. A search replays their means through the study itself (``ask``, ``report``, ``end``), one
trial at a time: a λ from the range gets what the nearest λ of the grid got. It has found the grid's best with the first
trial within one standard error of it; the standard error is that of a mean, from the median over the points of their
deviation between seeds. The epochs until then are told as a share of the grid's.

By validation accuracy there is nothing to find: the control and many points of small λ are as good as the best, and the
first trial is one of them. So what is searched for is the accuracy after pruning, whose best lies at one λ and falls on
both sides. It is known at a trial's end only, so no trial is stopped early: what is measured is what trials are chosen.
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from topotune.config import NONE, TrialConfig
from topotune.files import Row, read_csv, write_csv, write_json, write_text
from topotune.folder import StudyFolder
from topotune.search.study import Asked, Ending, Study
from topotune.search.study_file import load_study

RECORDED = Path(__file__).parent / "data" / "digits_grid.csv"
TOPOGRAPHIES = ("grid2d", "circle", "nested2d", "grid3d", "sphere", "nested3d", "line")
LOW, HIGH, WEIGHTS = 1e-3, 10.0, 12
EPOCHS, SEEDS = 9, 3
SETTINGS = {"dataset": "digits", "model": "small_cnn", "batch_size": 64, "learning_rate": 0.02, "threads": 1}
GRID_EPOCHS = EPOCHS * (1 + WEIGHTS * len(TOPOGRAPHIES))
SPACE = f"""
[fixed]
epochs = {EPOCHS}
[scientific]
topography = {{choices = ["none", {", ".join(f'"{name}"' for name in TOPOGRAPHIES)}]}}
weight = {{low = {LOW}, high = {HIGH}, log = true}}
[budget]
trials = {GRID_EPOCHS}
"""
ACCURACY, PRUNED = "validation_accuracy", "pruned_accuracy"
SAMPLERS = ("tpe", "random")
EPOCH_COLUMNS = tuple(f"epoch{epoch}" for epoch in range(1, EPOCHS + 1))
COLUMNS = ("topography", "step", "seed", *EPOCH_COLUMNS, PRUNED)
BETWEEN = math.log(HIGH / LOW) / (WEIGHTS - 1)  # of two neighbouring λ, on the logarithmic scale

Point = tuple[str, int | None]  # topography, and the step of λ on the grid; the control has none
POINTS: tuple[Point, ...] = ((NONE, None), *product(TOPOGRAPHIES, range(WEIGHTS)))


class Training(NamedTuple):
    """What one training came to: validation accuracy by epoch, and the mean over pruning proportions at its end."""

    curve: list[float]
    pruned: float

    def value(self, metric: str) -> float:
        return max(self.curve) if metric == ACCURACY else self.pruned


@dataclass(frozen=True)
class Aim:
    """The grid by one metric: each point's mean over the seeds, the best of them, and a mean's standard error."""

    means: Mapping[Point, float]
    best: float
    error: float

    @property
    def good(self) -> set[Point]:
        """The points that are as good as the best."""
        return {at for at, mean in self.means.items() if mean >= self.best - self.error}


def point(topography: str, weight: float) -> Point:
    """The grid's point that is nearest."""
    return topography, None if topography == NONE else round(math.log(weight / LOW) / BETWEEN)


def record() -> None:
    """Train the grid."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(_train, product(POINTS, range(SEEDS))))
    write_csv(RECORDED, COLUMNS, rows)


def _train(one: tuple[Point, int]) -> Row:
    from topotune.followup.objectives import measure
    from topotune.training.fit import fit

    (topography, step), seed = one
    weight = 0.0 if step is None else LOW * math.exp(BETWEEN * step)
    config = TrialConfig(topography=topography, weight=weight, seed=seed, epochs=EPOCHS, **SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        history = fit(config, Path(folder) / "run").history
        pruned = measure([PRUNED], Path(folder) / "run", None)[PRUNED]
    values = (round(value, 6) for value in (*(one.validation_accuracy for one in history), pruned))
    return dict(zip(COLUMNS, (topography, step, seed, *values), strict=True))


def recorded() -> dict[tuple[Point, int], Training]:
    """Every training of the grid, by point and seed."""
    return {
        ((row["topography"], row["step"]), row["seed"]): Training([row[name] for name in EPOCH_COLUMNS], row[PRUNED])
        for row in read_csv(RECORDED)
    }


def aim(trainings: Mapping[tuple[Point, int], Training], metric: str) -> Aim:
    """What there is to find."""
    values = {at: [trainings[at, seed].value(metric) for seed in range(SEEDS)] for at in POINTS}
    means = {at: statistics.fmean(own) for at, own in values.items()}
    deviation = statistics.median(map(statistics.stdev, values.values()))
    return Aim(means, max(means.values()), deviation / math.sqrt(SEEDS))


def search(one: tuple[str, int]) -> tuple[int | None, int | None]:
    """Epochs trained until a trial was a good point, and until one was the best; None where the grid's were too few.

    one: the sampler and the repetition.
    """
    sampler, seed = one
    trainings = recorded()
    wanted = aim(trainings, PRUNED)
    best = max(POINTS, key=wanted.means.__getitem__)
    with tempfile.TemporaryDirectory() as name:
        folder = StudyFolder(Path(name) / "efficiency")
        write_text(Path(name) / "efficiency.toml", SPACE)
        overrides = {"study.seed": seed, "study.sampler": sampler, "objective.metric": PRUNED}
        study = Study(load_study(Path(name) / "efficiency.toml", overrides), folder)
        trained, good = 0, None
        try:
            while trained < GRID_EPOCHS and (asked := study.ask()):
                at = point(asked.config.topography, asked.config.weight)
                _replay(study, asked, [trainings[at, step] for step in range(SEEDS)])
                trained += EPOCHS
                if good is None and at in wanted.good:
                    good = trained
                if at == best:
                    return good, trained
        finally:
            study.close()
    return good, None


def _replay(study: Study, asked: Asked, seeds: list[Training]) -> None:
    """One trial, to its end: the means over the seeds."""
    curve = [statistics.fmean(values) for values in zip(*(one.curve for one in seeds), strict=True)]
    rows = [{"epoch": epoch, "seconds": 0, "validation_accuracy": value} for epoch, value in enumerate(curve, 1)]
    for epoch, value in enumerate(curve, start=1):
        study.report(asked.number, epoch, value)
    write_csv(study.folder.trial(asked.number) / "metrics.csv", list(rows[0]), rows)
    pruned = statistics.fmean(one.pruned for one in seeds)
    study.end(asked.number, "complete", Ending(measured={PRUNED: pruned}))


def _told(sampler: str, found: list[tuple[int | None, int | None]]) -> dict[str, Any]:
    """Print how one sampler did; what a file keeps of it. A search that never found it counts as the longest."""
    cells = []
    for epochs in zip(*found, strict=True):
        values = sorted(math.inf if one is None else one for one in epochs)
        low, middle, high = (values[round(part * (len(values) - 1))] for part in (0.25, 0.5, 0.75))
        cells.append(f"{f'{middle:.0f} ({low:.0f} to {high:.0f})':>22} {middle / GRID_EPOCHS:6.2f}")
    print(f"{sampler:8}", *cells, flush=True)
    return {"sampler": sampler, "epochs": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--record", action="store_true", help="train the grid anew")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.record:
        record()
    trainings = recorded()
    aims = {metric: aim(trainings, metric) for metric in (ACCURACY, PRUNED)}
    print(f"the grid: {len(POINTS)} points of {EPOCHS} epochs, {GRID_EPOCHS} in all; means over {SEEDS} seeds")
    for metric, one in aims.items():
        control = "with" if POINTS[0] in one.good else "without"
        print(f"{metric}: best {one.best:.4f}, standard error {one.error:.4f}, the control {one.means[POINTS[0]]:.4f}")
        print(f"  within one standard error of the best: {len(one.good)} points, {control} the control")
    print("epochs: median (quartiles), and share of the grid's, to within a standard error, and to the best itself")
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        every = pool.map(search, product(SAMPLERS, range(options.repetitions)))
        rows = [_told(one, [next(every) for _ in range(options.repetitions)]) for one in SAMPLERS]
    if options.out:
        goals = {
            metric: {"best": one.best, "standard_error": one.error, "good_points": len(one.good)}
            for metric, one in aims.items()
        }
        write_json(options.out, {"grid_epochs": GRID_EPOCHS, "goals": goals, "searches": rows})


if __name__ == "__main__":
    main()
