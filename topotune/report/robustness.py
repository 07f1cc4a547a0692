"""From the rows of robustness.csv to what a reader sees: curves to draw, and a table."""

import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence

from topotune.config import NONE
from topotune.files import Row
from topotune.report.tables import Curve, Table, by_topography, curve_points, mean_and_std, mean_std, seed, weight
from topotune.report.wording import points


def curves(rows: Sequence[Row]) -> dict[str, dict[str, Curve]]:
    """For each perturbation and topography: the draws' mean at each level, its mean and deviation over the seeds."""
    curves = {}
    for perturbation in dict.fromkeys(str(row["perturbation"]) for row in rows):
        grouped = by_topography((row for row in rows if row["perturbation"] == perturbation), "accuracy")
        curves[perturbation] = {
            name: Curve(float(own[0]["weight"] or 0), curve_points(_over_draws(own), "level"))
            for name, own in grouped.items()
        }
    return curves


def _over_draws(rows: Iterable[Row]) -> list[Row]:
    """A row a seed and level, with the draws' mean accuracy."""
    found: dict[tuple[int, float], list[float]] = {}
    for row in rows:
        found.setdefault((seed(row), float(row["level"])), []).append(row["accuracy"])
    return [
        {"seed": seed, "level": level, "accuracy": statistics.fmean(drawn)} for (seed, level), drawn in found.items()
    ]


def table(rows: Sequence[Row]) -> Table:
    """Each perturbation in two numbers a topography: the mean over its levels, and the area under its curve, which is
    divided by the width of the levels; and the mean's difference from the control, over the seeds that both have."""
    header = (
        "Perturbation", "Topography", "λ", "Seeds", "Clean (%)", "Mean over the levels (%)", "Area under the curve (%)",
        "Mean’s difference from the control (percentage points)",
    )  # fmt: skip
    shown = []
    for perturbation in dict.fromkeys(str(row["perturbation"]) for row in rows):
        grouped = by_topography((row for row in rows if row["perturbation"] == perturbation), "accuracy")
        means = {name: _per_seed(own, _mean_of_levels) for name, own in grouped.items()}
        for name, own in grouped.items():
            clean = {seed(row): float(row["clean_accuracy"]) for row in own}
            columns = (clean, means[name], _per_seed(own, _area))
            cells = (mean_and_std(*mean_std(list(one.values()))) for one in columns)
            shared = means[name].keys() & means.get(NONE, {}).keys() if name != NONE else ()
            apart = statistics.fmean(means[name][seed] - means[NONE][seed] for seed in shared) if shared else None
            shown.append((perturbation, name, weight(own[0]), str(len(clean)), *cells, points(apart)))
    return Table(header, tuple(shown), words=2)


def _per_seed(rows: Iterable[Row], score: Callable[[list[tuple[float, float]]], float]) -> dict[int, float]:
    """The score of each seed's curve, [(level, accuracy), …] in the order of the levels."""
    curves: dict[int, list[tuple[float, float]]] = {}
    for row in _over_draws(rows):
        curves.setdefault(row["seed"], []).append((row["level"], row["accuracy"]))
    return {seed: score(sorted(curve)) for seed, curve in curves.items()}


def _mean_of_levels(curve: list[tuple[float, float]]) -> float:
    return statistics.fmean(accuracy for _level, accuracy in curve)


def _area(curve: list[tuple[float, float]]) -> float:
    """By the trapezoid rule; of a single level, its accuracy."""
    width = curve[-1][0] - curve[0][0]
    if not width:
        return curve[0][1]
    steps = itertools.pairwise(curve)
    return sum((right - left) * (one + other) / 2 for (left, one), (right, other) in steps) / width
