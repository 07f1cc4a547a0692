"""The figures of a study. No display, and no pyplot but for Optuna's plots.

One colour and one marker a topography, the same in every figure; the control is black. Colours are those of
Okabe & Ito, which stay apart for readers with a colour vision deficiency.
"""

import io
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from matplotlib import RcParams
from matplotlib import style as styles
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from topotune.config import NONE
from topotune.files import write_atomically
from topotune.report.tables import Confirmed, Curve, Point, mean_std
from topotune.topography import ARRANGEMENTS, POSITIONS, arrangement_of

SIZE = (8.0, 4.5)  # inches
DPI = 150
CONTROL_COLOUR = "#000000"
# Okabe & Ito, with their yellow (#F0E442) darkened: on white it can hardly be seen.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#A89C00")
_Line = Literal["-", "--", ":"]
LINES: tuple[_Line, ...] = ("-", "--", ":")  # of fixed, learned and assigned positions
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LOOK = {
    "font.family": "DejaVu Sans", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#E4E4E4", "grid.linewidth": 0.7, "axes.axisbelow": True,
    # ids in the SVG come from this salt instead of a random number: same figure, same text
    "svg.hashsalt": "topotune",
}  # fmt: skip
# On top of matplotlib's defaults, so that a matplotlibrc of the user's changes nothing.
in_our_style = styles.context(["default", _LOOK])


class _Style(NamedTuple):
    colour: str
    marker: str
    line: _Line


def style_of(topography: str) -> _Style:
    """The colour of its organisation, a marker of its own, and a line that says how positions are handed out.

    Past the seventh organisation, colours come again with other markers.
    """
    if topography == NONE:
        return _Style(CONTROL_COLOUR, "o", "-")
    names, (organisation, way) = list(POSITIONS), arrangement_of(topography)
    rank = names.index(organisation) if organisation in names else len(names)
    kind = ARRANGEMENTS.index(way) if way in ARRANGEMENTS else 0
    turn = rank // len(COLOURS) + 2 * kind
    return _Style(COLOURS[rank % len(COLOURS)], MARKERS[(rank + turn) % len(MARKERS)], LINES[kind])


@in_our_style
def save(figure: Figure, path: Path) -> str:
    """Write ``figure`` to ``path`` as PNG and give it back as SVG text, the same for the same figure."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=DPI))
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


@contextmanager
def pyplot_in_our_style() -> Iterator[None]:
    """Within it, Optuna's plots look like ours: it asks pyplot for the style ``ggplot``, and gets this one.

    No display is needed; what was drawn is pyplot's no more at the end, and can still be saved.
    """
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    known, theirs = set(pyplot.get_fignums()), styles.library["ggplot"]
    look: dict[str, Any] = _LOOK | {
        "figure.figsize": SIZE, "figure.constrained_layout.use": True, "legend.frameon": False, "legend.fontsize": 9,
    }  # fmt: skip
    with styles.context(["default", look]):
        try:
            styles.library["ggplot"] = RcParams(look)
            yield
        finally:
            styles.library["ggplot"] = theirs
            for number in set(pyplot.get_fignums()) - known:
                pyplot.close(number)


@in_our_style
def accuracy_against_weight(trials: Mapping[str, Sequence[Point]]) -> Figure:
    """Validation accuracy of every trial against λ (log scale), by topography; without a λ, as the control: a line."""
    figure, axes = canvas("λ, weight of the topographic loss", "Validation accuracy (%)")
    placed = {name: own for name, own in trials.items() if any(point.weight > 0 for point in own)}
    weights = sorted({point.weight for own in placed.values() for point in own})
    # Repeated λs come from a list of choices: set topographies side by side, and join each one's best.
    listed = sum(map(len, placed.values())) >= 2 * len(weights)
    joined = listed and len(weights) > 1
    _weight_axis(axes, weights, listed)
    handles: list[Any] = []
    for place, name in enumerate(placed):
        shift = 10 ** (_gap(weights) * 0.5 * ((place + 0.5) / len(placed) - 0.5)) if listed else 1.0
        _draw_trials(axes, name, placed[name], shift, joined=joined)
        handles.append(_handle(name, joined=joined))
    lines: list[Point] = []
    for name, own in trials.items():
        if name not in placed:
            handles += _draw_unweighted(axes, name, own)
            lines += [point for point in own if point.complete] or sorted(own)[-1:]
    _focus(axes, [*itertools.chain.from_iterable(placed.values()), *lines])
    grey: dict[str, Any] = {"color": "#555555", "linestyle": "none", "marker": "o"}
    handles.append(Line2D([], [], label="complete", **grey))
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
        best = {point.weight: point.accuracy for point in complete}  # sorted: the last of a λ is its best
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


def _weight_axis(axes: Axes, weights: Sequence[float], listed: bool) -> None:
    axes.xaxis.set_minor_locator(NullLocator())
    if not weights:
        axes.xaxis.set_major_locator(NullLocator())
        return
    axes.set_xscale("log")
    around = 10 ** (0.5 * _gap(weights)) if listed else 1.2
    axes.set_xlim(weights[0] / around, weights[-1] * around)
    decades = math.log10(weights[-1] / weights[0])
    # closer than a twelfth of the axis, and their labels would touch
    each = len(weights) == 1 or (listed and _gap(weights) > decades / 12)
    steps = LogLocator(subs=(1.0,) if decades > 3 else (1.0, 2.0, 5.0)) if decades > 1 else MaxNLocator(6)
    axes.xaxis.set_major_locator(FixedLocator(weights) if each else steps)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def _gap(weights: Sequence[float]) -> float:
    """The smallest step between two λs, in decades."""
    steps = [math.log10(high / low) for low, high in itertools.pairwise(weights)]
    return min(steps, default=0.5)


def _focus(axes: Axes, points: Sequence[Point]) -> None:
    """Let the complete trials fill the axis: pruned ones that ended far below are counted, not drawn."""
    if not points:
        return
    every = [100 * point.accuracy for point in points]
    complete = [100 * point.accuracy for point in points if point.complete] or every
    span = max(max(complete) - min(complete), 1.0)
    near = [one for one in every if one >= min(complete) - span]
    floor = min(near) - 0.06 * span
    axes.set_ylim(floor, max(every) + 0.06 * span)
    hidden = sum(one < floor for one in every)
    if hidden:
        note = f"{hidden} pruned {'trial' if hidden == 1 else 'trials'} below {floor:.1f}%"
        axes.text(0.01, 0.02, note, transform=axes.transAxes, fontsize=8, color="#555555")


@in_our_style
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
    names = [f"{as_label(name)}\n{line}" for name, line in zip(confirmed, below, strict=True)]
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="x")
    legend(figure, handles)
    return figure


@in_our_style
def pruning_accuracy(curves: Mapping[str, Curve]) -> Figure:
    """Accuracy against the pruned proportion: the mean over the seeds, and a band of ± one standard deviation."""
    figure, axes = canvas("Proportion pruned (%)", "Accuracy (%)")
    for name, curve in curves.items():
        _draw_curve(axes, name, curve, 100)
    legend(figure, [_handle(name, joined=True) for name in curves])
    return figure


@in_our_style
def robustness_accuracy(curves: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Accuracy against the level, a panel a perturbation: as ``pruning_accuracy``."""
    columns = min(len(curves), 3)
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(SIZE[0], max(SIZE[1], 2.25 * rows)), layout="constrained")
    for number, (perturbation, own) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        for name, curve in own.items():
            _draw_curve(axes, name, curve, 1)
        axes.set_title(as_label(perturbation), fontsize=9)
        axes.tick_params(labelsize=8)
    figure.supxlabel("Level", fontsize=10)
    figure.supylabel("Accuracy (%)", fontsize=10)
    names = dict.fromkeys(name for own in curves.values() for name in own)
    legend(figure, [_handle(name, joined=True) for name in names])
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


@in_our_style
def organisations(places: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Where channels sit, one panel an organisation; darker is earlier.

    places: organisation -> one position a channel, in 1, 2 or 3 dimensions.
    """
    columns = min(len(places), 4)
    rows = math.ceil(len(places) / columns)
    figure = Figure(figsize=(3.0 * columns, 3.1 * rows), layout="constrained")
    for number, (name, points) in enumerate(places.items(), start=1):
        solid = len(points[0]) == 3
        axes = figure.add_subplot(rows, columns, number, projection="3d" if solid else None)
        coordinates = list(zip(*points, strict=True))
        if len(coordinates) == 1:
            coordinates.append((0.0,) * len(points))
        look: dict[str, Any] = {"c": range(len(points)), "cmap": "viridis", "s": 9, "zorder": 2}
        axes.scatter(*coordinates, **(look | {"depthshade": False} if solid else look))
        axes.set_aspect("equal")
        axes.set_title(f"{name}, {len(points)} channels", fontsize=9)
        axes.tick_params(labelsize=7)
    return figure


def _strength(weight: float) -> str:
    return f"λ = {weight:.3g}" if weight else "no λ"


def canvas(x: str, y: str) -> tuple[Figure, Axes]:
    """An empty figure with these words at its axes."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _handle(name: str, *, joined: bool) -> Line2D:
    colour, marker, line = style_of(name)
    label = as_label(name) + (" (control)" if name == NONE else "")
    return Line2D([], [], color=colour, marker=marker, markersize=6, linestyle=line if joined else "none", label=label)


def legend(figure: Figure, handles: Sequence[Any]) -> None:
    """A legend beside the axes."""
    figure.legend(handles=list(handles), loc="outside right upper", frameon=False, fontsize=9)


def as_label(name: str) -> str:
    """A name as text: matplotlib would set what stands between two dollar signs as a formula."""
    return name.replace("$", r"\$")
