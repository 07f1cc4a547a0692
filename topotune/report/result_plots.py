"""Plots of what was found: test accuracy, differences from the control, pruning and robustness."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from topotune.config import NONE
from topotune.report import published, robustness, tables
from topotune.report.plot import COLUMNS, PANEL, Plot, Trace, axes, curve, grid, label, legend_once, trace
from topotune.report.study import ReportStudy
from topotune.report.tables import Curve, mean_std
from topotune.report.wording import points, sure


def confirmed_plot(study: ReportStudy) -> Plot | None:
    """Test accuracy by topography: a point a seed, a bar at the mean, a line at the control's mean."""
    confirmed = tables.confirmed_by_topography(study.confirmed)
    if not confirmed:
        return None
    drawn: list[Trace] = []
    for place, (name, one) in enumerate(confirmed.items()):
        values = [100 * value for value in one.accuracies]
        # set apart evenly, so that equal accuracies stay countable
        at = [place + 0.3 * ((seed + 0.5) / len(values) - 0.5) for seed in range(len(values))]
        mean, std = mean_std(values)
        spread = "" if std is None else f" ± {std:.2f}"
        drawn.append(trace(name, at, values, mode="markers", opacity=0.75, text=[f"{value:.2f}%" for value in values]))
        words = [f"{label(name)}: mean {mean:.2f}{spread}%, {len(values)} seeds"] * 2
        bar = trace(name, [place - 0.3, place + 0.3], [mean, mean], mode="lines", line={"width": 4, "dash": "solid"})
        drawn.append(bar | {"text": words, "showlegend": False})
    layout = axes("", "Test accuracy (%)", shapes=[])
    layout["xaxis"] |= {
        "tickvals": list(range(len(confirmed))), "ticktext": list(map(label, confirmed)), "showgrid": False,
        "range": [-0.6, len(confirmed) - 0.4],
    }  # fmt: skip
    if NONE in confirmed:
        middle = 100 * mean_std(confirmed[NONE].accuracies)[0]
        layout["shapes"].append(_line({"x0": 0, "x1": 1, "xref": "paper", "y0": middle, "y1": middle}))
    return Plot(
        drawn, layout,
        "Test accuracy of the confirmed models: a point a seed, a bar at their mean; the dashed line is the mean of "
        "the control.",
        "Test accuracy of each confirmed topography: one point a seed, a bar at the mean, and a horizontal line at the "
        "mean of the control.",
    )  # fmt: skip


def difference_plot(studies: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> Plot | None:
    """Differences from the control with their 95% intervals, for each study by its name: its rows of summary.json."""
    several, drawn, rows = len(studies) > 1, [], []
    for study, summaries in studies:
        place = {name: rank for rank, name in enumerate(tables.in_order(one["topography"] for one in summaries))}
        for one in sorted(summaries, key=lambda one: place[one["topography"]]):
            if one.get("difference") is None:
                continue
            name, middle = one["topography"], 100 * one["difference"]
            rows.append(f"{study}: {name}" if several else name)
            words = f"{rows[-1]}: {points(one['difference'])} points, {sure(one)}"
            mark = trace(name, [middle], [rows[-1]], mode="markers", text=[words])
            if one.get("low") is not None and one.get("high") is not None:
                reach = {"array": [100 * one["high"] - middle], "arrayminus": [middle - 100 * one["low"]]}
                mark["error_x"] = {"type": "data", "symmetric": False, "color": mark["line"]["color"], **reach}
            drawn.append(mark | {"showlegend": False})
    if not drawn:
        return None
    layout = axes("Difference (percentage points)", "", shapes=[])
    layout["yaxis"] |= {"automargin": True, "autorange": "reversed", "type": "category"}
    layout["shapes"].append(_line({"x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper"}))
    return Plot(
        drawn, layout,
        "Difference in test accuracy from the control over the seeds that both have, with its 95% interval (paired t). "
        "One that crosses the dashed line may be no difference at all.",
        f"Differences from the control with their intervals, of {len(rows)} topographies; the table above has them.",
        height=140 + 34 * len(rows),
    )  # fmt: skip


def pruning_plot(study: ReportStudy, way: str, curves: Mapping[str, Curve]) -> Plot:
    """Accuracy against the pruned proportion, beside the first paper's two points where they are comparable."""
    drawn = [one for name, own in curves.items() for one in curve(name, own, 100)]
    known = published.pruning(study.fixed) if way.startswith("l2") else {}
    for name, (proportion, accuracy) in known.items():
        words = [f"{label(name)}, {published.SOURCE}: {accuracy}% at {proportion}%"]
        star = {"mode": "markers", "marker": {"symbol": "star", "size": 14}, "showlegend": False}
        drawn.append(trace(name, [proportion], [accuracy], text=words, **star))
    stars = f" Stars: {published.SOURCE}, ResNet-18 on CIFAR-10, λ = 1." * bool(known)
    return Plot(
        legend_once(drawn), axes("Proportion pruned (%)", "Accuracy (%)"),
        f"Accuracy of the confirmed models after pruning ({way}): mean over the seeds, and a band of ± one sample "
        f"standard deviation.{stars}",
        "Accuracy against the proportion pruned: one curve a topography, with bands of one standard deviation.",
    )  # fmt: skip


def robustness_plot(study: ReportStudy) -> Plot | None:
    """Accuracy against the level of each perturbation, a panel each."""
    tried = robustness.curves(study.tried)
    if not tried:
        return None
    columns = min(len(tried), COLUMNS)
    layout, refs = grid(list(tried), columns)
    drawn = [
        one
        for own, ref in zip(tried.values(), refs, strict=True)
        for name, found in own.items()
        for one in curve(name, found, 1, **ref)
    ]
    return Plot(
        legend_once(drawn), layout,
        "Accuracy (%) of the confirmed models under perturbations of their input or their weights, against the level: "
        "mean over the seeds, and a band of ± one sample standard deviation. What a level is, differs: of noise its "
        "deviation (salt and pepper: the share of the pixels), of corruptions their severity, of attacks ε in 255ths, "
        "of quantisation the bits.",
        "Accuracy against the level of each perturbation, a panel each: one curve a topography.",
        height=max(380, 90 + PANEL * math.ceil(len(tried) / columns)),
    )  # fmt: skip


def _line(ends: dict[str, Any]) -> dict[str, Any]:
    """A dashed line in the page's own colour of text."""
    return {"type": "line", "line": {"dash": "dash", "width": 1}, **ends}
