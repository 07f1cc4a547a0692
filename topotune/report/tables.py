"""From the rows of a study's files to what a reader sees: curves to draw and tables of text, in plain Python.

Accuracies are fractions in the files and in the curves, percent in the tables. Rows of unknown accuracy are left out.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from topotune.config import NONE
from topotune.files import Row
from topotune.folder import ranked
from topotune.report.wording import MISSING, interval, number, percent, plain, points
from topotune.topography import TOPOGRAPHIES

STATES = ("complete", "pruned", "failed", "running")  # of trials
PRUNING_SHOWN = (0.0, 0.2, 0.4, 0.6, 0.8)  # the proportions of the table: the figure has all of them


class Table(NamedTuple):
    """A table of text. The first ``words`` columns hold words, the others numbers (set to the right)."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


class Point(NamedTuple):
    """One trial of the search, as the figure shows it."""

    weight: float
    accuracy: float
    complete: bool


class Confirmed(NamedTuple):
    """The test accuracies of one topography, one a seed, in the order of the seeds."""

    weight: float
    accuracies: tuple[float, ...]


class CurvePoint(NamedTuple):
    """Mean and sample standard deviation (none for a single seed) over the seeds at one proportion, or level."""

    proportion: float
    mean: float
    std: float | None
    seeds: int


class Curve(NamedTuple):
    """Accuracy against the pruned proportion, or the level of a perturbation, for one topography."""

    weight: float
    points: tuple[CurvePoint, ...]


def in_order(names: Iterable[str]) -> list[str]:
    """Topographies, each once: the control first, then as TOPOGRAPHIES has them, then unknown ones by name."""
    known = {name: rank for rank, name in enumerate((NONE, *TOPOGRAPHIES))}
    return sorted(set(names), key=lambda name: (known.get(name, len(known)), name))


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n − 1), ``None`` for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def accuracy_by_topography(trials: Iterable[Row]) -> dict[str, list[Point]]:
    """The complete and pruned trials of each topography, by weight."""
    found: dict[str, list[Point]] = {}
    for row in trials:
        if row["state"] in ("complete", "pruned") and known(row["validation_accuracy"]):
            point = Point(float(row["weight"] or 0), row["validation_accuracy"], row["state"] == "complete")
            found.setdefault(str(row["topography"]), []).append(point)
    return {name: sorted(found[name]) for name in in_order(found)}


def confirmed_by_topography(rows: Iterable[Row]) -> dict[str, Confirmed]:
    """The confirmed models' test accuracies."""
    grouped = by_topography(rows, "test_accuracy")
    return {
        name: Confirmed(float(own[0]["weight"] or 0), tuple(row["test_accuracy"] for row in sorted(own, key=seed)))
        for name, own in grouped.items()
    }


def pruning_curves(rows: Iterable[Row]) -> dict[str, Curve]:
    """Mean and deviation over the seeds, for each topography and proportion."""
    grouped = by_topography(rows, "accuracy")
    return {name: Curve(float(own[0]["weight"] or 0), curve_points(own, "proportion")) for name, own in grouped.items()}


def by_topography(rows: Iterable[Row], value: str) -> dict[str, list[Row]]:
    """The rows whose ``value`` is known, by their topography."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if known(row[value]):
            found.setdefault(str(row["topography"]), []).append(row)
    return {name: found[name] for name in in_order(found)}


def curve_points(rows: Iterable[Row], by: str) -> tuple[CurvePoint, ...]:
    """Accuracy over the seeds at each value of ``by``."""
    found: dict[float, list[float]] = {}
    for row in rows:
        # 0.1 + 0.2 and 0.3 are one proportion
        found.setdefault(round(float(row[by]), 6), []).append(row["accuracy"])
    return tuple(CurvePoint(at, *mean_std(found[at]), len(found[at])) for at in sorted(found))


def seed(row: Row) -> int:
    """A row's seed."""
    return int(row["seed"] or 0)


def known(value: Any) -> bool:
    """Whether it is a number, and a finite one."""
    return isinstance(value, int | float) and math.isfinite(value)


def count_states(trials: Iterable[Row]) -> dict[str, int]:
    """How many trials are in each state."""
    counts = dict.fromkeys(STATES, 0)
    for row in trials:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    return counts


def leaderboard(trials: Sequence[Row], top: int = 10) -> Table:
    """The best complete trials; a pruned one is left out, since its accuracy is that of a shorter training."""
    tuned = searched(trials)
    measured = _between(trials, "validation_accuracy", "epochs")  # further objectives, and whether they are kept to
    header = (
        "Rank", "Trial", "Topography", "λ", *tuned, "Validation accuracy (%)", *map(heading, measured), "Epochs",
        "Seconds",
    )  # fmt: skip
    rows = tuple(
        (
            str(rank), str(row["id"]), plain(row["topography"]), weight(row),
            *(number(row[name]) for name in tuned),
            percent(row["validation_accuracy"]), *(_measure(name, row[name]) for name in measured),
            plain(row.get("epochs")), plain(row.get("seconds"), ".0f"),
        )
        for rank, row in enumerate(ranked(trials)[:top], start=1)
    )  # fmt: skip
    return Table(header, rows, words=3)


def searched(trials: Sequence[Row]) -> list[str]:
    """The settings that were searched, without topography and λ."""
    return _between(trials, "config_hash", "validation_accuracy", without=("topography", "weight"))


def rises(metric: str) -> bool:
    """Whether more of it is better."""
    return metric.endswith("accuracy")


def front_table(front: Sequence[Row]) -> Table:
    """The trials of a Pareto front, by their objectives."""
    names = [name for name in front[0] if name != "id"]
    rows = tuple((str(row["id"]), *(_measure(name, row[name]) for name in names)) for row in front)
    return Table(("Trial", *map(heading, names)), rows)


def _between(trials: Sequence[Row], first: str, last: str, without: Sequence[str] = ()) -> list[str]:
    """The columns that trials.csv has between two of those that it always has."""
    names = list(trials[0]) if trials else []
    if first not in names or last not in names:
        return []
    return [name for name in names[names.index(first) + 1 : names.index(last)] if name not in without]


_HEADINGS = {
    "standard_error": "Standard error (points)", "pareto": "On the Pareto front", "feasible": "Keeps the constraints",
}  # fmt: skip


def heading(name: str) -> str:
    """What a metric's column, or axis, is called."""
    words = name.replace("_", " ").capitalize()
    return _HEADINGS.get(name, words + " (%)" * name.endswith("accuracy"))


def _measure(name: str, value: Any) -> str:
    """One more metric of a trial, in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("accuracy") or name == "standard_error":
        return percent(value)
    return MISSING if value is None else f"{value:,.0f}"


def confirmed_table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """What the confirmation found, as summary.json has it."""
    header: tuple[str, ...] = (
        "Topography", "λ", "Seeds", "Test accuracy (%), mean ± std",
        "Difference from the control (percentage points)", "95% interval",
    )  # fmt: skip
    tested = any("p_holm" in one for one in summaries)
    header += ("p, corrected", "Hedges’ g") * tested
    areas = any("roc_auc" in one for one in summaries)  # of two classes
    header += ("ROC-AUC, mean",) * areas
    place = {name: rank for rank, name in enumerate(in_order(one["topography"] for one in summaries))}
    rows = tuple(
        (
            one["topography"], weight(one), plain(one["seeds"]), mean_and_std(one["mean"], one.get("std")),
            points(one.get("difference")), interval(one.get("low"), one.get("high")),
            *([plain(one.get("p_holm"), ".2g"), plain(one.get("effect"), ".2f")] if tested else []),
            *([f"{one['roc_auc']:.4f}" if "roc_auc" in one else MISSING] if areas else []),
        )
        for one in sorted(summaries, key=lambda one: place[one["topography"]])
    )  # fmt: skip
    return Table(header, rows)


def confirmed_models(rows: Iterable[Row]) -> Table:
    """Which models were confirmed: enough to find each of them again."""
    grouped = by_topography(rows, "test_accuracy").values()
    names = ("topography", "seed", "trial", "config_hash", "best_epoch", "epochs")
    found = tuple(tuple(plain(row.get(name)) for name in names) for own in grouped for row in sorted(own, key=seed))
    return Table(("Topography", "Seed", "Trial", "Configuration hash", "Best epoch", "Epochs"), found, words=4)


def pruning_summary(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """What the pruning curves come to, as summary.json has it: the control first in each way of pruning."""
    header = (
        "Criterion", "Layers", "Topography", "λ", "Seeds", "Area under the curve (%), mean ± std",
        "Difference from the control (percentage points)", "95% interval", "p, corrected", "−1, −5, −10 points at (%)",
    )  # fmt: skip
    rank = {name: place for place, name in enumerate(in_order(one["topography"] for one in summaries))}
    ways = list(dict.fromkeys(map(_way, summaries)))
    rows = tuple(
        (
            *_way(one), one["topography"], weight(one), plain(one["seeds"]),
            mean_and_std(one["area"], one["area_std"]), points(one["difference"]),
            interval(one["low"], one["high"]), plain(one["p_holm"], ".2g"),
            " / ".join(_proportion(one[f"fall_{fall}"]) for fall in (1, 5, 10)),
        )
        for one in sorted(summaries, key=lambda one: (ways.index(_way(one)), rank[one["topography"]]))
    )  # fmt: skip
    return Table(header, rows, words=3)


def _way(one: Mapping[str, Any]) -> tuple[str, str]:
    epochs = one["finetune_epochs"]
    tuned = f", trained on for {epochs} epoch{'s' * (epochs > 1)}" if epochs else ""
    return f"{one['criterion']}{tuned}", one["scope"]


def _proportion(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.1f}"


def pruning_ways(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each way of pruning, by its name."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        criterion, scope = _way(row)
        found.setdefault(f"{criterion}, {scope} layers", []).append(row)
    return found


def pruning_table(curves: Mapping[str, Curve]) -> Table:
    """Accuracy at a few proportions, mean ± std over the seeds."""
    shown = _shown_proportions({point.proportion for curve in curves.values() for point in curve.points})
    rows = []
    for name, curve in curves.items():
        at = {point.proportion: point for point in curve.points}
        cells = (mean_and_std(at[one].mean, at[one].std) if one in at else MISSING for one in shown)
        rows.append((name, number(curve.weight) if curve.weight else MISSING, _seeds(curve), *cells))
    return Table(("Topography", "λ", "Seeds", *(f"{100 * one:g}% pruned" for one in shown)), tuple(rows))


def _shown_proportions(available: set[float]) -> list[float]:
    """The usual proportions, or, where the study has fewer than two of them, five spread over those it has."""
    usual = [one for one in PRUNING_SHOWN if one in available]
    if len(usual) > 1 or len(available) <= len(PRUNING_SHOWN):
        return usual if len(usual) > 1 else sorted(available)
    every = sorted(available)
    last = len(PRUNING_SHOWN) - 1
    return [every[round(step * (len(every) - 1) / last)] for step in range(last + 1)]


def _seeds(curve: Curve) -> str:
    counts = {point.seeds for point in curve.points}
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def weight(row: Mapping[str, Any]) -> str:
    """A row's λ, in words."""
    return number(row["weight"]) if row["weight"] else MISSING


def mean_and_std(mean: float, std: float | None) -> str:
    """In percent, in words."""
    return percent(mean) if std is None else f"{percent(mean)} ± {percent(std)}"
