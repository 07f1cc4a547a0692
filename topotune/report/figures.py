"""The figures of a study, drawn by matplotlib for files. No display, and no pyplot.

Whoever draws does so within ``looking``, which sets sizes and fonts.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib import rcParams
from matplotlib import style as styles
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from topotune.config import NONE
from topotune.files import write_atomically
from topotune.report.style import CONTROL_COLOUR, style_of
from topotune.report.tables import Confirmed, Curve, Point, mean_std
from topotune.report.weights import WeightAxis, best_of_each, focus

_LOOK: dict[str, Any] = {
    "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#E4E4E4", "grid.linewidth": 0.7, "axes.axisbelow": True, "legend.frameon": False,
    "legend.fontsize": "small", "axes.titlesize": "small",
    "pdf.fonttype": 42,  # letters stay letters, as journals ask for
}  # fmt: skip
# inches; those of paper fit a column and a half of a journal, its letters are 8 points high
STYLES: dict[str, dict[str, Any]] = {
    "screen": {"figure.figsize": (8.0, 4.5), "savefig.dpi": 150, "font.size": 10},
    "paper": {
        "figure.figsize": (5.0, 3.0), "savefig.dpi": 300, "font.size": 8, "lines.markersize": 4,
        "axes.linewidth": 0.6, "grid.linewidth": 0.4,
    },
}  # fmt: skip


def looking(style: str = "screen", size: tuple[float, float] | None = None) -> AbstractContextManager[None]:
    """The look of a key of STYLES, and figures of ``size``, width and height in inches, where they have one panel; on
    top of matplotlib's defaults, so that a matplotlibrc of the user's changes nothing."""
    return styles.context(["default", _LOOK | STYLES[style] | ({"figure.figsize": size} if size else {})])


def save(figure: Figure, *paths: Path) -> None:
    """Write ``figure`` into each file, as its ending says (.png, .pdf): the same file for the same figure."""
    for path in paths:
        kind = path.suffix.removeprefix(".").lower()
        undated = {"CreationDate": None} if kind == "pdf" else None
        write_atomically(path, partial(figure.savefig, format=kind, metadata=undated))


def accuracy_against_weight(trials: Mapping[str, Sequence[Point]]) -> Figure:
    """Validation accuracy of every trial against λ (log scale), by topography; without a λ, as the control: a line."""
    figure, axes = canvas("λ, weight of the topographic loss", "Validation accuracy (%)")
    placed = {name: own for name, own in trials.items() if any(point.weight > 0 for point in own)}
    layout = WeightAxis.of(placed)
    _weight_axis(axes, layout)
    handles: list[Any] = []
    for place, name in enumerate(placed):
        _draw_trials(axes, name, placed[name], layout.shift(place, len(placed)), joined=layout.joined)
        handles.append(_handle(name, joined=layout.joined))
    lines: list[Point] = []
    for name, own in trials.items():
        if name not in placed:
            handles += _draw_unweighted(axes, name, own)
            lines += [point for point in own if point.complete] or sorted(own)[-1:]
    if shown := focus([*itertools.chain.from_iterable(placed.values()), *lines]):
        axes.set_ylim(shown.floor, shown.top)
        axes.set_title(shown.note, loc="left", fontsize="small", color="#555555")
    grey: dict[str, Any] = {"color": "#555555", "linestyle": "none", "marker": "o"}
    handles.append(Line2D([], [], label="complete", **grey))
    if any(
        not point.complete and (not shown or 100 * point.accuracy >= shown.floor)
        for own in placed.values()
        for point in own
    ):
        handles.append(Line2D([], [], label="pruned", markerfacecolor="none", alpha=0.5, **grey))
    legend(figure, handles)
    return figure


def _draw_trials(axes: Axes, name: str, points: Sequence[Point], shift: float, *, joined: bool) -> None:
    colour, marker, _line = style_of(name)
    complete = [point for point in points if point.complete]
    pruned = [point for point in points if not point.complete]
    look: dict[str, Any] = {"marker": marker, "linestyle": "none", "color": colour, "markersize": 6}
    hollow = look | {"markerfacecolor": "none", "alpha": 0.5, "markersize": 5}
    for own, drawn in ((pruned, hollow), (complete, look | {"alpha": 0.85})):
        axes.plot([shift * point.weight for point in own], [100 * point.accuracy for point in own], **drawn)
    if joined:
        best = best_of_each(points)
        axes.plot([shift * at for at in best], [100 * one for one in best.values()], color=colour, linewidth=1)


def _draw_unweighted(axes: Axes, name: str, points: Sequence[Point]) -> list[Any]:
    """The best trial as a line; of the control also a band down to the median, which holds the better half of them."""
    colour, complete = style_of(name).colour, sorted(100 * point.accuracy for point in points if point.complete)
    shown = "none (control)" if name == NONE else name
    if complete:
        axes.axhline(complete[-1], color=colour, linestyle="--", linewidth=1.2, zorder=1)
        line = Line2D([], [], color=colour, linestyle="--", linewidth=1.2, label=f"{shown}, best")
        if name != NONE or len(complete) == 1:
            return [line]
        axes.axhspan(complete[len(complete) // 2], complete[-1], color=colour, alpha=0.08, linewidth=0)
        return [line, Patch(color=colour, alpha=0.08, label=f"{name}, better half")]
    colour = "#777777" if name == NONE else colour
    axes.axhline(100 * max(point.accuracy for point in points), color=colour, linestyle=":", linewidth=1.2)
    return [Line2D([], [], color=colour, linestyle=":", linewidth=1.2, label=f"{name}, pruned")]


def _weight_axis(axes: Axes, layout: WeightAxis) -> None:
    axes.xaxis.set_minor_locator(NullLocator())
    weights = layout.weights
    if not weights:
        axes.xaxis.set_major_locator(NullLocator())
        return
    axes.set_xscale("log")
    axes.set_xlim(*layout.ends)
    axes.xaxis.set_major_locator(FixedLocator(layout.ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def confirmed_accuracy(confirmed: Mapping[str, Confirmed]) -> Figure:
    """Test accuracy by topography: a point a seed, a bar at the mean, a line at the control's mean."""
    figure, axes = canvas("Topography", "Test accuracy (%)")
    for place, (name, one) in enumerate(confirmed.items()):
        colour, marker, _line = style_of(name)
        values = [100 * value for value in one.accuracies]
        # set apart evenly, so that equal accuracies stay countable
        places = [place + 0.3 * ((seed + 0.5) / len(values) - 0.5) for seed in range(len(values))]
        axes.plot(places, values, marker=marker, linestyle="none", color=colour, alpha=0.75, markersize=6)
        axes.hlines(100 * mean_std(one.accuracies)[0], place - 0.3, place + 0.3, color=colour, linewidth=2.5)
    handles = [
        Line2D([], [], color="#555555", marker="o", linestyle="none", label="one seed"),
        Line2D([], [], color="#555555", linewidth=2.5, label="mean"),
    ]
    if NONE in confirmed:
        middle = 100 * mean_std(confirmed[NONE].accuracies)[0]
        axes.axhline(middle, color=CONTROL_COLOUR, linestyle="--", linewidth=1, zorder=1)
        handles.append(Line2D([], [], color=CONTROL_COLOUR, linestyle="--", linewidth=1, label="mean of the control"))
    below = ("control" if name == NONE else _strength(one.weight) for name, one in confirmed.items())
    crowded = len(confirmed) > 1.4 * rcParams["figure.figsize"][0]  # a name has less than half an inch
    between = ", " if crowded else "\n"
    names = [f"{as_label(name)}{between}{line}" for name, line in zip(confirmed, below, strict=True)]
    slant: dict[str, Any] = {"rotation": 35, "ha": "right"} if len(names) > 5 else {}  # else they would touch
    slant |= {"rotation": 90, "ha": "center"} if crowded else {}
    axes.set_xticks(range(len(names)), names, fontsize="small", **slant)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="x")
    legend(figure, handles)
    return figure


def pruning_accuracy(curves: Mapping[str, Curve]) -> Figure:
    """Accuracy against the pruned proportion: the mean over the seeds, and a band of ± one standard deviation."""
    figure, axes = canvas("Proportion pruned (%)", "Accuracy (%)")
    for name, curve in curves.items():
        _draw_curve(axes, name, curve, 100)
    legend(figure, [_handle(name, joined=True) for name in curves])
    return figure


def robustness_accuracy(curves: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Accuracy against the level, a panel a perturbation: as ``pruning_accuracy``."""
    figure, panels = small_panels(list(curves))
    for axes, own in zip(panels, curves.values(), strict=True):
        for name, curve in own.items():
            _draw_curve(axes, name, curve, 1)
    for axes in panels[-3:]:  # the lowest of each column
        axes.set_xlabel("Level")
    figure.supylabel("Accuracy (%)", fontsize="medium")
    names = dict.fromkeys(name for own in curves.values() for name in own)
    legend(figure, [_handle(name, joined=True) for name in names], below=True)
    return figure


def _draw_curve(axes: Axes, name: str, curve: Curve, scale: float) -> None:
    """The mean over the seeds, and a band of ± one standard deviation; ``scale`` is of the horizontal axis."""
    colour, marker, line = style_of(name)
    at = [scale * point.proportion for point in curve.points]
    mean = [100 * point.mean for point in curve.points]
    std = [100 * (point.std or 0.0) for point in curve.points]
    front = 3 if name == NONE else 2
    axes.plot(at, mean, color=colour, marker=marker, markersize=4, linestyle=line, linewidth=1.6, zorder=front)
    below = [middle - spread for middle, spread in zip(mean, std, strict=True)]
    above = [middle + spread for middle, spread in zip(mean, std, strict=True)]
    axes.fill_between(at, below, above, color=colour, alpha=0.13, linewidth=0)


def small_panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure of small panels with these titles, three a row."""
    width, height = rcParams["figure.figsize"]
    columns = min(len(titles), 3)
    rows = math.ceil(len(titles) / columns)
    figure = Figure(figsize=(width * (1 + 0.1 * columns), max(height, 0.65 * height * rows)), layout="constrained")
    panels = [figure.add_subplot(rows, columns, number) for number in range(1, len(titles) + 1)]
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(as_label(title))
        axes.tick_params(labelsize="small")
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return figure, panels


def _strength(weight: float) -> str:
    return f"λ = {weight:.3g}" if weight else "no λ"


def canvas(x: str, y: str) -> tuple[Figure, Axes]:
    """An empty figure with these words at its axes."""
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _handle(name: str, *, joined: bool) -> Line2D:
    colour, marker, line = style_of(name)
    label = as_label(name) + (" (control)" if name == NONE else "")
    return Line2D([], [], color=colour, marker=marker, markersize=6, linestyle=line if joined else "none", label=label)


def legend(figure: Figure, handles: Sequence[Any], *, below: bool = False) -> None:
    """A legend beside the axes, or below them."""
    place: dict[str, Any] = {"loc": "outside lower center", "ncols": 4} if below else {"loc": "outside right upper"}
    figure.legend(handles=list(handles), **place)


def as_label(name: str) -> str:
    """A name as text: matplotlib would set what stands between two dollar signs as a formula."""
    return name.replace("$", r"\$")
