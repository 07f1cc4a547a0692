"""Plots of a search: its trials along λ and in time, their learning curves and objectives."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

from topotune.config import NONE
from topotune.files import Row, read_csv
from topotune.folder import ranked
from topotune.report import tables, wording
from topotune.report.plot import COLUMNS, PANEL, Plot, Trace, axes, grid, label, legend_once, trace, whole
from topotune.report.study import ReportStudy
from topotune.report.tables import Point
from topotune.report.weights import WeightAxis, best_of_each, focus
from topotune.training import METRICS

CURVES_AT_MOST = 300  # learning curves: the page does not grow with the trials


def weight_plot(study: ReportStudy) -> Plot | None:
    """Validation accuracy of every trial against λ; of topographies without one, as the control, a line."""
    trials = tables.accuracy_by_topography(study.trials)
    if not trials:
        return None
    placed = {name: own for name, own in trials.items() if any(point.weight > 0 for point in own)}
    along = WeightAxis.of(placed)
    ends = along.ends if along.weights else (0.0, 1.0)
    drawn, shown = [], list(itertools.chain.from_iterable(placed.values()))
    for place, (name, own) in enumerate(placed.items()):
        drawn += _points(study, name, along.shift(place, len(placed)))
        if along.joined:
            best, shift = best_of_each(own), along.shift(place, len(placed))
            heights = [100 * one for one in best.values()]
            drawn.append(
                trace(name, [shift * at for at in best], heights, mode="lines", showlegend=False, hoverinfo="skip")
            )
    for name, own in trials.items():
        if name not in placed:
            drawn += _level(name, own, ends)
            shown += [point for point in own if point.complete] or sorted(own)[-1:]
    seen = focus(shown)
    layout = axes("λ, weight of the topographic loss", "Validation accuracy (%)")
    layout["xaxis"] |= {
        "type": "log", "range": [math.log10(end) for end in ends], "tickvals": along.ticks,
        "ticktext": [f"{one:.4g}" for one in along.ticks],
    } if along.weights else {"showticklabels": False, "range": list(ends)}  # fmt: skip
    if seen:
        layout["yaxis"]["range"] = [seen.floor, seen.top]
    note = f" ({seen.note})" if seen and seen.note else ""
    return Plot(
        legend_once(drawn), layout,
        f"Every trial of the search. Filled: complete; hollow: pruned{note}. Where λ was chosen from a list, "
        "topographies are set side by side at each λ and a line joins the best of each. The dashed line is the best "
        "trial of the control, which has no λ; the band holds the better half of the control’s trials.",
        "Scatter plot of validation accuracy against λ on a logarithmic scale, by topography, with the control as a "
        "horizontal line.",
    )  # fmt: skip


def _points(study: ReportStudy, name: str, shift: float) -> list[Trace]:
    """The complete trials, filled, and the pruned ones, hollow."""
    drawn = []
    for state in ("complete", "pruned"):
        rows = [row for row in measured(study.trials, state) if row["topography"] == name and row["weight"]]
        if rows:
            values = [100 * row["validation_accuracy"] for row in rows]
            words = [words_of(study, row) for row in rows]
            one = trace(name, [shift * row["weight"] for row in rows], values, mode="markers", text=words)
            if state == "pruned":
                one |= {"opacity": 0.6}
                one["marker"] |= {"symbol": one["marker"]["symbol"] + "-open"}
            drawn.append(one)
    return drawn


def _level(name: str, points: Sequence[Point], ends: tuple[float, float]) -> list[Trace]:
    """The best trial as a line; of the control also a band down to the median, which holds the better half of them."""
    complete = sorted(100 * point.accuracy for point in points if point.complete)
    best = complete[-1] if complete else 100 * max(point.accuracy for point in points)
    words = f"{label(name)}, best: {best:.2f}%" if complete else f"{label(name)}, pruned: {best:.2f}%"
    dash = "dash" if complete else "dot"
    drawn = [trace(name, ends, [best, best], mode="lines", line={"dash": dash}, text=[words] * 2)]
    if name == NONE and len(complete) > 1:
        middle = complete[len(complete) // 2]
        corners = ([ends[0], ends[1], ends[1], ends[0]], [middle, middle, best, best])
        area = trace(name, *corners, mode="lines", fill="toself", line={"width": 0}, opacity=0.1, hoverinfo="skip")
        drawn.append(area | {"showlegend": False})
    return drawn


def measured(rows: Iterable[Row], *states: str) -> list[Row]:
    """The trials in these states whose accuracy is known."""
    return [row for row in rows if row["state"] in states and tables.known(row["validation_accuracy"])]


def words_of(study: ReportStudy, row: Row) -> str:
    """What a trial is, for who points at it."""
    searched = [f"{name.replace('_', ' ')} {wording.number(row[name])}" for name in tables.searched(study.trials)]
    strength = [f"λ = {wording.number(row['weight'])}"] if row["weight"] else []
    accuracy = f"{100 * row['validation_accuracy']:.2f}% {row['state']} after {row['epochs']} epochs"
    return "<br>".join([f"trial {row['id']}: {label(str(row['topography']))}", *strength, *searched, accuracy])


def briefly(row: Row) -> str:
    """Likewise, where the plot itself shows its settings."""
    return f"trial {row['id']}: {label(str(row['topography']))}, {100 * row['validation_accuracy']:.2f}%"


def history_plot(study: ReportStudy) -> Plot | None:
    """The first objective of the complete trials in their order, and the best so far."""
    name = study.objectives[0]
    rows = [row for row in study.trials if row["state"] == "complete" and tables.known(row.get(name))]
    if len(rows) < 2:
        return None
    values = [_scaled(name, row[name]) for row in rows]
    best = list(itertools.accumulate(values, max if tables.rises(name) else min))
    line = {
        "type": "scatter", "mode": "lines", "x": [row["id"] for row in rows], "y": best, "name": "best so far",
        "line": {"shape": "hv", "width": 1.5}, "meta": {"neutral": True}, "hoverinfo": "y",
    }  # fmt: skip
    drawn = [line]
    for topography in tables.in_order({str(row["topography"]) for row in rows}):
        own = [(row, one) for row, one in zip(rows, values, strict=True) if row["topography"] == topography]
        words = [words_of(study, row) for row, _one in own]
        at = [row["id"] for row, _one in own]
        drawn.append(trace(topography, at, [one for _row, one in own], mode="markers", text=words))
    what = tables.heading(name)
    return Plot(
        drawn, axes("Trial", what) | {"xaxis": whole("Trial", rows[-1]["id"])},
        f"{what} of the complete trials, in the order in which they began, and the best so far.",
        f"Scatter plot of {what} by the number of the trial: {len(rows)} complete trials, from {min(values):.4g} to "
        f"{max(values):.4g}.",
    )  # fmt: skip


def pareto_plot(study: ReportStudy) -> Plot | None:
    """The complete trials by their objectives, a panel for every two of them, and the front."""
    names = study.objectives
    rows = [row for row in study.trials if row["state"] == "complete"]
    rows = [row for row in rows if all(tables.known(row.get(name)) for name in names)]
    if len(names) < 2 or len(rows) < 2:
        return None
    pairs = list(itertools.combinations(names, 2))
    columns = min(len(pairs), COLUMNS)
    layout, refs = grid([""] * len(pairs), columns, gap=0.12)
    drawn = []
    for pair, ref in zip(pairs, refs, strict=True):
        for name, axis in zip(pair, ref.values(), strict=True):
            layout[f"{axis[0]}axis{axis[1:]}"]["title"] = {"text": tables.heading(name)}
        for topography in tables.in_order({str(row["topography"]) for row in rows}):
            own = [row for row in rows if row["topography"] == topography]
            at = ([_scaled(name, row[name]) for row in own] for name in pair)
            words = [words_of(study, row) + "<br>on the Pareto front" * bool(row.get("pareto")) for row in own]
            sizes = [13 if row.get("pareto") else 7 for row in own]
            drawn.append(trace(topography, *at, mode="markers", text=words, marker={"size": sizes}, **ref))
    front = sum(bool(row.get("pareto")) for row in rows)
    return Plot(
        legend_once(drawn), layout,
        f"The complete trials by their objectives. The {front} large ones are the Pareto front: no trial is better "
        "than one of them in all objectives.",
        f"Scatter plots of {wording.listed([tables.heading(name) for name in names])} against each other: {front} of "
        f"{len(rows)} trials are the Pareto front.",
        height=430 if len(pairs) == 1 else 90 + (PANEL + 60) * math.ceil(len(pairs) / columns),
    )  # fmt: skip


def learning_plot(study: ReportStudy) -> Plot | None:
    """Validation accuracy by epoch, a line a trial."""
    rows = [*ranked(study.trials), *(row for row in study.trials if row["state"] != "complete")]
    curves = []
    for row in rows[:CURVES_AT_MOST]:
        path = study.folder.trial(row["id"]) / METRICS
        epochs = read_csv(path) if path.exists() else []
        if epochs:
            curves.append((row, [(one["epoch"], 100 * one["validation_accuracy"]) for one in epochs]))
    if not any(len(points) > 1 for _row, points in curves):
        return None
    drawn = []
    for topography in tables.in_order({str(row["topography"]) for row, _points in curves}):
        x: list[Any] = []
        y: list[Any] = []
        words: list[str] = []
        for row, points in (one for one in curves if one[0]["topography"] == topography):
            x += [at for at, _value in points] + [None]  # a gap between one trial's line and the next
            y += [value for _at, value in points] + [None]
            words += [str(row["id"])] * (len(points) + 1)
        told = f"trial %{{text}}: {label(topography)}<br>epoch %{{x}}: %{{y:.2f}}%<extra></extra>"
        look = {"mode": "lines+markers", "line": {"width": 1}, "marker": {"size": 3}, "opacity": 0.7}
        drawn.append(trace(topography, x, y, text=words, hovertemplate=told, **look))
    many = "all" if len(curves) == len(study.trials) else f"the best {len(curves)}"
    layout = axes("", "Validation accuracy (%)")
    layout["xaxis"] = whole("Epoch", max(epoch for _row, points in curves for epoch, _value in points))
    return Plot(
        drawn, layout,
        f"Learning curves of {many} trials, on their first seed: one that was pruned ends early.",
        f"Learning curves: validation accuracy by epoch, a line for each of {len(curves)} trials.",
    )  # fmt: skip


def _scaled(name: str, value: float) -> float:
    return 100 * value if name.endswith("accuracy") else value
