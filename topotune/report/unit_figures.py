"""The figures of the analyses, drawn by matplotlib in the style of the others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
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
            look: dict[str, Any] = {"cmap": "twilight" if panel.cyclic else "viridis", "linewidths": 0}
            look |= {"norm": Normalize(0, TURN)} if panel.cyclic else {}
            drawn = _solid(axes, panel, side, look) if solid else _flat(axes, panel, look)
            bar = figure.colorbar(drawn, ax=axes, orientation="horizontal", shrink=0.7, aspect=25, pad=0.02)
            bar.locator = MaxNLocator(3)
            bar.ax.tick_params(labelsize="small")
            bar.outline.set_visible(False)
            axes.set_aspect("equal")
            axes.set_title(as_label(f"{name_of(key)}:\n{panel.title}"))
            axes.set_axis_off()
    return figure


def _flat(axes: Axes, panel: Panel, look: dict[str, Any]) -> Any:
    """Squares that touch their neighbours, whatever the size of the axes."""
    places = panel.positions if panel.positions.shape[1] == 2 else np.column_stack([panel.positions, 0 * panel.values])
    apart = gap(places) * float(np.ptp(places, axis=0).max())
    squares = [Rectangle((x - apart / 2, y - apart / 2), apart, apart) for x, y in places.tolist()]
    drawn = PatchCollection(squares, **look)
    drawn.set_array(np.ma.masked_invalid(panel.values))
    axes.add_collection(drawn)
    low, high = places.min(0) - apart / 2, places.max(0) + apart / 2
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return drawn


def _solid(axes: Any, panel: Panel, side: float, look: dict[str, Any]) -> Any:
    """Small squares, so that one does not hide those behind it. side: of the panel, in inches."""
    size = float(np.clip(30 * side * gap(panel.positions), 2, 8 * side))  # points
    own = look | {"c": panel.values, "marker": "s", "s": size**2, "plotnonfinite": True, "depthshade": False}
    return axes.scatter(*panel.positions.T, **own)
