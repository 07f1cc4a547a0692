"""The figures of the analyses, in the style of the others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from topotune.report.analysis import Bin, Key, Panel
from topotune.report.figures import SIZE, as_label, canvas, in_our_style, legend, style_of


@in_our_style
def correlation_against_distance(curves: Mapping[Key, Sequence[Bin]]) -> Figure:
    """Mean correlation of pairs of units by their distance, with a band for shuffled positions.

    The colour is the topography's; the line says how the positions are handed out.
    """
    figure, axes = canvas("Distance of two units", "Mean correlation")
    handles, means = [], [one.mean for bins in curves.values() for one in bins]
    room = 0.1 * (max(means) - min(means)) + 0.01  # the bands of the farthest pairs, which are few, are wider
    axes.set_ylim(min(means) - room, max(means) + room)
    for (topography, positions), bins in curves.items():
        style, line = style_of(topography), style_of(positions).line
        at = [one.distance for one in bins]
        look: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markersize": 4, "linestyle": line}
        axes.plot(at, [one.mean for one in bins], linewidth=1.6, **look)
        low, high = [one.low for one in bins], [one.high for one in bins]
        axes.fill_between(at, low, high, color=style.colour, alpha=0.13, linewidth=0)
        name = topography if topography == positions else f"{topography} on {positions}"
        handles.append(Line2D([], [], label=as_label(name), linewidth=1.6, **look))
    legend(figure, handles)
    return figure


@in_our_style
def unit_maps(panels: Sequence[Sequence[Panel]]) -> Figure:
    """A row of maps for each network: every unit is a square at its position."""
    columns = max(map(len, panels))
    figure = Figure(figsize=(SIZE[0] * columns / 3, 2.6 * len(panels)), layout="constrained")
    for place, own in enumerate(panels):
        for column, panel in enumerate(own):
            solid = panel.positions.shape[1] == 3
            axes = figure.add_subplot(
                len(panels), columns, place * columns + column + 1, projection="3d" if solid else None
            )
            coordinates = [*panel.positions.T]
            if len(coordinates) == 1:
                coordinates.append([0.0] * len(panel.values))
            look: dict[str, Any] = {"c": panel.values, "cmap": "twilight" if panel.cyclic else "viridis", "marker": "s"}
            look |= {"s": _size(panel.positions), "linewidths": 0, "plotnonfinite": True}
            axes.scatter(*coordinates, **(look | {"depthshade": False} if solid else look))
            axes.set_aspect("equal")
            axes.set_title(as_label(panel.title), fontsize=8)
            axes.set_axis_off()
    return figure


def _size(positions: Any) -> float:
    """Of a unit's square, so that neighbours nearly touch: as matplotlib wants it, in square points."""
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    gap = np.median(apart.min(1)) / max(np.ptp(positions, axis=0).max(), 1e-9)
    return float(np.clip(140 * gap, 2, 20) ** 2)
