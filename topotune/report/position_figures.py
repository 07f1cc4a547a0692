"""Figures of positions, drawn by matplotlib: where channels sit, and what a loss asks of them.

C channels in D dimensions.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from topotune.report.figures import as_label

# the loss of one layer and what is in it, in words of matplotlib's formulas
_TARGETS = r",\quad T_{ij} = \frac{1}{d_{ij}+1}"
FORMULAS = {
    "channel": (r"\frac{2}{C(C-1)}\sum_{i<j}\,(\cos(y_i, y_j) - T_{ij})^2", _TARGETS),
    "as_global": (r"\frac{2}{C(C-1)}\sum_{i<j}\,(\cos(a_i, a_j) - T_{ij})^2", _TARGETS),
    "ws": (r"\frac{1}{|N|}\sum_{(p,q)\in N}\,\Vert w_p - w_q\Vert_2", ""),
    "ws_cosine": (r"\frac{1}{|N|}\sum_{(p,q)\in N}\,(1 - \cos(w_p, w_q))", ""),
    "ws_pearson": (r"\frac{1}{|N|}\sum_{(p,q)\in N}\,(1 - r(w_p, w_q))", ""),
    "as": (r"\frac{1}{|N|}\sum_{(p,q)\in N}\,(1 - r(a_p, a_q))", ""),
    "as_relu": (r"\frac{1}{|N|}\sum_{(p,q)\in N}\,(1 - r(\mathrm{relu}\,a_p, \mathrm{relu}\,a_q))", ""),
    "laplacian": (r"1 - \frac{1}{C}\sum_p\,\cos(w_p, \mathrm{blur}(w)_p)", ""),
}


def approach(places: Sequence[Sequence[float]], wanted: Sequence[Sequence[float]], loss: str) -> Figure:
    """How topography comes into a layer: positions, how alike each pair of channels is to be, and the loss of that.

    places: (C, D) positions. wanted: (C, C) the similarity that is asked for, or 1 for neighbours. loss: of LOSSES.
    """
    width, height = rcParams["figure.figsize"]
    figure = Figure(figsize=(1.35 * width, height), layout="constrained")  # two panels
    solid = len(places[0]) == 3
    left = figure.add_subplot(1, 2, 1, projection="3d" if solid else None)
    chosen = len(places) // 3  # any channel, away from the border
    near = [1.0 if other == chosen else one for other, one in enumerate(wanted[chosen])]
    shown = _scatter(left, places, {"c": near, "cmap": "viridis", "s": 26, "vmin": 0, "vmax": 1})
    _scatter(left, [places[chosen]], {"c": "#D55E00", "marker": "*", "s": 90, "zorder": 3})
    left.set_title("channels at their positions;\ncolour: wanted likeness to ★")
    right = figure.add_subplot(1, 2, 2)
    right.imshow(wanted, cmap="viridis", vmin=0, vmax=1)
    right.set_title("wanted likeness of each pair")
    right.set(xlabel="channel", ylabel="channel")
    right.grid(visible=False)
    figure.colorbar(shown, ax=right, shrink=0.8)
    for axes in (left, right):
        axes.tick_params(labelsize="small")
    formula, where = FORMULAS[loss]
    figure.supxlabel(f"$L = L_{{task}} + \\lambda\\,R_{{layers}}\\left[{formula}\\right]{where}$", fontsize="medium")
    return figure


def organisations(places: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Where channels sit, one panel an organisation; darker is earlier.

    places: organisation -> (C, D) positions.
    """
    columns = min(len(places), 4)
    rows = math.ceil(len(places) / columns)
    side = 0.37 * rcParams["figure.figsize"][0]
    figure = Figure(figsize=(side * columns, 1.03 * side * rows), layout="constrained")
    for number, (name, points) in enumerate(places.items(), start=1):
        axes = figure.add_subplot(rows, columns, number, projection="3d" if len(points[0]) == 3 else None)
        _scatter(axes, points, {"c": range(len(points)), "cmap": "viridis", "s": side**2, "zorder": 2})
        axes.set_title(f"{as_label(name)}\n{len(points)} channels")
        axes.tick_params(labelsize="x-small")
    return figure


def _scatter(axes: Axes, points: Sequence[Sequence[float]], look: dict[str, Any]) -> Any:
    """Points (C, D) in 1, 2 or 3 dimensions, as one collection."""
    coordinates = list(zip(*points, strict=True))
    if len(coordinates) == 1:
        coordinates.append((0.0,) * len(points))
    axes.set_aspect("equal")
    return axes.scatter(*coordinates, **(look | {"depthshade": False} if len(coordinates) == 3 else look))
