"""The figures of the analyses, drawn by matplotlib in the style of the others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from topotune.report.analysis import TURN, Bin, Key, Panel, by_organisation, gap, name_of, role_of
from topotune.report.figures import as_label, legend, small_panels
from topotune.report.style import style_of

SMALLEST = 1.5  # inches, of one map: its title needs so many


def correlation_against_distance(curves: Mapping[Key, list[Bin]]) -> Figure:
    """Mean correlation of pairs of units by their distance, a panel an organisation, with bands for shuffled positions.

    The colour is the topography's; the line says how the positions are handed out.
    """
    groups = by_organisation(curves)
    figure, panels = small_panels(list(groups))
    means = [one.mean for bins in curves.values() for one in bins]
    room = 0.1 * (max(means) - min(means)) + 0.01  # the bands of the farthest pairs, which are few, are wider
    handles: dict[str, Line2D] = {}
    for axes, own in zip(panels, groups.values(), strict=True):
        axes.set_ylim(min(means) - room, max(means) + room)
        handles |= {role_of(key): _draw_curve(axes, key, bins) for key, bins in own.items()}
    figure.supylabel("Mean correlation", fontsize="medium")
    legend(figure, list(handles.values()), below=True)
    return figure


def _draw_curve(axes: Axes, key: Key, bins: Sequence[Bin]) -> Line2D:
    style, line = style_of(key[0]), style_of(key[1]).line
    at = [one.distance for one in bins]
    look: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markersize": 3, "linestyle": line}
    axes.plot(at, [one.mean for one in bins], linewidth=1.2, **look)
    axes.fill_between(
        at, [one.low for one in bins], [one.high for one in bins], color=style.colour, alpha=0.13, linewidth=0
    )
    return Line2D([], [], label=as_label(role_of(key)), linewidth=1.2, **look)


def unit_maps(panels: Mapping[Key, Sequence[Panel]]) -> Figure:
    """A row of maps for each network, each with its own scale: every unit is a square at its position."""
    columns = max(map(len, panels.values()))
    side = max(rcParams["figure.figsize"][0] / 3.2, SMALLEST)
    figure = Figure(figsize=(side * columns, 1.2 * side * len(panels)), layout="constrained")
    for place, (key, own) in enumerate(panels.items()):
        for column, panel in enumerate(own):
            solid = panel.positions.shape[1] == 3
            axes = figure.add_subplot(
                len(panels), columns, place * columns + column + 1, projection="3d" if solid else None
            )
            coordinates = [*panel.positions.T]
            if len(coordinates) == 1:
                coordinates.append([0.0] * len(panel.values))
            look: dict[str, Any] = {"c": panel.values, "cmap": "twilight" if panel.cyclic else "viridis", "marker": "s"}
            look |= {"vmin": 0, "vmax": TURN} if panel.cyclic else {}
            look |= {"s": _area(panel.positions, side), "linewidths": 0, "plotnonfinite": True}
            drawn = axes.scatter(*coordinates, **(look | {"depthshade": False} if solid else look))
            bar = figure.colorbar(drawn, ax=axes, orientation="horizontal", shrink=0.7, aspect=25, pad=0.02)
            bar.locator = MaxNLocator(3)
            bar.ax.tick_params(labelsize="small")
            bar.outline.set_visible(False)
            axes.set_aspect("equal")
            axes.set_title(as_label(f"{name_of(key)}:\n{panel.title}"))
            axes.set_axis_off()
    return figure


def _area(positions: Any, side: float) -> float:
    """Of a unit's square in a panel of so many inches, so that neighbours nearly touch: in square points."""
    return float(np.clip(56 * side * gap(positions), 2, 8 * side) ** 2)
