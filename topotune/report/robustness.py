"""From the rows of robustness.csv to what a reader sees: curves to draw, and a table."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from topotune.files import Row
from topotune.report.tables import Curve, Table, by_topography, curve_points, in_order, mean_and_std, seed, weight
from topotune.report.wording import interval, plain, points


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


def table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """What each perturbation comes to for each topography, as summary.json has it."""
    header = (
        "Perturbation", "Topography", "λ", "Seeds", "Clean (%)", "Mean over the levels (%)", "Area under the curve (%)",
        "Mean’s difference from the control (percentage points)", "95% interval", "p, corrected",
    )  # fmt: skip
    rank = {name: place for place, name in enumerate(in_order(one["topography"] for one in summaries))}
    order = list(dict.fromkeys(one["perturbation"] for one in summaries))
    rows = tuple(
        (
            one["perturbation"], one["topography"], weight(one), str(one["seeds"]),
            mean_and_std(one["clean"], one["clean_std"]), mean_and_std(one["mean"], one["std"]),
            mean_and_std(one["area"], one["area_std"]), points(one["difference"]),
            interval(one["low"], one["high"]), plain(one["p_holm"], ".2g"),
        )
        for one in sorted(summaries, key=lambda one: (order.index(one["perturbation"]), rank[one["topography"]]))
    )  # fmt: skip
    return Table(header, rows, words=2)
