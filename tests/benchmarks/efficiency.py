"""Epochs that a search needs to find what a full grid finds: 12 λ x 8 topographies on the digits.

    python -m tests.benchmarks.efficiency [--repetitions 20] [--out FILE.json]
    python -m tests.benchmarks.efficiency --record      # trains the grid anew, 10 minutes on two cores

The grid was trained for real, every point once (the control once for all λ), and its best point on ten seeds; the
learning curves stand in ``data/digits_grid.csv``. A search replays them through the study itself (``ask``,
``report``, ``should_prune``, ``end``), one trial at a time: a λ from the range gets the curve of the nearest λ of the
grid. It has found the grid's best once a trial that ran to its end is within one standard error of it. The standard
error is that of one training, over the ten seeds, or that of their mean; the best itself is the hardest aim.
"""

import argparse
import math
import statistics
import tempfile
from itertools import product
from pathlib import Path

from topotune.config import NONE, TrialConfig
from topotune.files import Row, read_csv, write_csv, write_json, write_text
from topotune.folder import StudyFolder
from topotune.search.study import Study
from topotune.search.study_file import load_study

CURVES = Path(__file__).parent / "data" / "digits_grid.csv"
TOPOGRAPHIES = ("grid2d", "circle", "nested2d", "grid3d", "sphere", "nested3d", "line")
LOW, HIGH, WEIGHTS = 1e-3, 10.0, 12
EPOCHS, SEEDS = 9, 10
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
SEARCHES = tuple(product(("tpe", "random"), ("successive_halving", "none")))
COLUMNS = ("topography", "step", "seed", *(f"epoch{epoch}" for epoch in range(1, EPOCHS + 1)))
BETWEEN = math.log(HIGH / LOW) / (WEIGHTS - 1)  # of two neighbouring λ, on the logarithmic scale

Point = tuple[str, int | None]  # topography, and the step of λ on the grid; the control has none
Curve = list[float]  # validation accuracy by epoch


def point(topography: str, weight: float) -> Point:
    """The grid's point that is nearest."""
    return topography, None if topography == NONE else round(math.log(weight / LOW) / BETWEEN)


def record() -> None:
    """Train the grid, and its best point on further seeds."""
    from topotune.training.fit import fit

    rows: list[Row] = []

    def train(at: Point, seed: int) -> float:
        topography, step = at
        weight = 0.0 if step is None else LOW * math.exp(BETWEEN * step)
        config = TrialConfig(topography=topography, weight=weight, seed=seed, epochs=EPOCHS, **SETTINGS)
        with tempfile.TemporaryDirectory() as folder:
            history = fit(config, Path(folder) / "run").history
        curve = [round(one.validation_accuracy, 6) for one in history]
        named = (topography, step, seed, *curve)
        rows.append(dict(zip(COLUMNS, named, strict=True)))
        return max(curve)

    points: list[Point] = [(NONE, None), *product(TOPOGRAPHIES, range(WEIGHTS))]
    best = max(points, key=lambda at: train(at, 0))
    for seed in range(1, SEEDS):
        train(best, seed)
    write_csv(CURVES, COLUMNS, rows)


def recorded() -> tuple[dict[Point, Curve], list[Curve]]:
    """The grid, and its best point on all seeds."""
    every = {
        (row["topography"], row["step"], row["seed"]): [row[name] for name in COLUMNS[3:]] for row in read_csv(CURVES)
    }
    grid = {(topography, step): curve for (topography, step, seed), curve in every.items() if seed == 0}
    best = max(grid, key=lambda at: max(grid[at]))
    return grid, [every[*best, seed] for seed in range(SEEDS)]


def search(curves: dict[Point, Curve], seed: int, sampler: str, pruner: str, targets: list[float]) -> list[int | None]:
    """Epochs trained until a complete trial reached each target; None where all that the grid takes were not enough."""
    with tempfile.TemporaryDirectory() as name:
        folder = StudyFolder(Path(name) / "efficiency")
        write_text(Path(name) / "efficiency.toml", SPACE)
        overrides = {"study.seed": seed, "study.sampler": sampler, "study.pruner": pruner}
        study = Study(load_study(Path(name) / "efficiency.toml", overrides), folder)
        found: list[int | None] = [None] * len(targets)
        trained = 0
        while None in found and trained < GRID_EPOCHS and (asked := study.ask()):
            curve = curves[point(asked.config.topography, asked.config.weight)]
            epochs = _replay(study, asked.number, curve)
            trained += epochs
            if epochs == EPOCHS:
                reached = [max(curve) >= target for target in targets]
                found = [trained if one is None and is_now else one for one, is_now in zip(found, reached, strict=True)]
        study.close()
    return found


def _replay(study: Study, number: int, curve: Curve) -> int:
    """One trial; the epochs it ran."""
    for epoch, value in enumerate(curve, start=1):
        study.report(number, epoch, value)
        if study.should_prune(number) and epoch < EPOCHS:
            study.end(number, "pruned")
            return epoch
    study.folder.trial(number).mkdir(parents=True)
    lines = [f"{epoch},0,{value}" for epoch, value in enumerate(curve, start=1)]
    write_text(study.folder.trial(number) / "metrics.csv", "\n".join(["epoch,seconds,validation_accuracy", *lines, ""]))
    study.end(number, "complete")
    return EPOCHS


def spread(found: list[int | None]) -> str:
    """Median and quartiles; a search that never found it counts as the longest."""
    values = sorted(math.inf if one is None else one for one in found)
    low, middle, high = (values[round(share * (len(values) - 1))] for share in (0.25, 0.5, 0.75))
    return f"{middle:6.0f} ({low:.0f} to {high:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--record", action="store_true", help="train the grid anew")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.record:
        record()
    curves, seeds = recorded()
    best, error = max(map(max, curves.values())), statistics.stdev(map(max, seeds))
    errors = {"one training": error, "mean of ten": error / math.sqrt(SEEDS), "the best itself": 0.0}
    print(f"the grid: {len(curves)} trainings of {EPOCHS} epochs, {GRID_EPOCHS} in all; its best {best:.4f}")
    for name, one in errors.items():
        there = [at for at, curve in curves.items() if max(curve) >= best - one]
        control = "with" if (NONE, None) in there else "without"
        print(f"{name}: within {one:.4f} are {len(there)} points, {control} the control")
    print(f"{'sampler':8} {'pruner':20}" + "".join(f"{name + ', epochs':>26} {'share':>6}" for name in errors))
    rows = []
    for sampler, pruner in SEARCHES:
        targets = [best - one for one in errors.values()]
        runs = [search(curves, seed, sampler, pruner, targets) for seed in range(options.repetitions)]
        found = dict(zip(errors, map(list, zip(*runs, strict=True)), strict=True))
        rows.append({"sampler": sampler, "pruner": pruner, "epochs": found})
        shares = [
            statistics.median(GRID_EPOCHS if one is None else one for one in own) / GRID_EPOCHS
            for own in found.values()
        ]
        cells = (f"{spread(own):>26} {share:6.2f}" for own, share in zip(found.values(), shares, strict=True))
        print(f"{sampler:8} {pruner:20}" + "".join(cells), flush=True)
    if options.out:
        write_json(options.out, {"grid_epochs": GRID_EPOCHS, "best": best, "standard_errors": errors, "searches": rows})


if __name__ == "__main__":
    main()
