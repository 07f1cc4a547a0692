"""Plots of what units represent: correlation against distance, and maps. C units in D dimensions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from topotune.report.analysis import Panel, by_unit, curves, gap, name_of
from topotune.report.plot import DASHES, Plot, Trace, band, grid, trace
from topotune.report.style import style_of
from topotune.report.study import ReportStudy

MAP = 210  # pixels, the height of a row of maps
# cyclic: it ends as it began (the colours of matplotlib's twilight, every fourth of them)
CYCLIC = ("#e2d9e2", "#8fb0c8", "#6276ba", "#5a2a8f", "#2f1436", "#731d4f", "#b25652", "#c8a38a", "#e2d9e2")
SCALES: dict[bool, Any] = {False: "Viridis", True: [[place / 8, colour] for place, colour in enumerate(CYCLIC)]}
# from where three dimensions are looked at: orthonormal rows, (2, 3)
VIEW = np.array([[0.894, -0.447, 0.0], [-0.183, -0.365, 0.913]])


def correlation_plot(study: ReportStudy) -> Plot | None:
    """Mean correlation of pairs of units by their distance; lattices, whose unit is a step, have a panel of their own."""
    groups = by_unit(curves(study.looked_at))
    if not groups:
        return None
    layout, refs = grid(list(groups), len(groups))
    drawn: list[Trace] = []
    for own, ref in zip(groups.values(), refs, strict=True):
        for key, bins in own.items():
            at = [one.distance for one in bins]
            drawn.append(band(key[0], at, [one.low for one in bins], [one.high for one in bins], **ref))
            words = [f"{name_of(key)}<br>distance {one.distance:.3g}: r = {one.mean:.3f}" for one in bins]
            look = {"mode": "lines+markers", "marker": {"size": 5}, "text": words, "name": name_of(key)}
            dash = {"line": {"dash": DASHES[style_of(key[1]).line]}}
            drawn.append(trace(key[0], at, [one.mean for one in bins], **look, **dash, **ref))
    return Plot(
        drawn, layout,
        "Correlation of two units’ responses against their distance: mean over the seeds. The bands hold 95% of what "
        "shuffled positions give.",
        "Mean correlation of pairs of units against their distance: one curve a topography, with bands for shuffled "
        "positions.",
    )  # fmt: skip


def map_plot(topography: str, panels: Sequence[Panel]) -> Plot:
    """The maps of one network beside each other: every unit is a square at its position."""
    titles = [panel.title.partition(":\n")[2] for panel in panels]
    layout, refs = grid(titles, len(panels), gap=0.02, visible=False)
    drawn: list[Trace] = []
    for panel, ref in zip(panels, refs, strict=True):
        places = _flat(panel.positions)
        layout[ref["yaxis"].replace("y", "yaxis")] |= {"scaleanchor": ref["xaxis"]}
        size = float(np.clip(0.8 * MAP * gap(panel.positions), 3, 36))
        drawn.append({
            "type": "scatter", "mode": "markers", "x": places[:, 0].tolist(), "y": places[:, 1].tolist(),
            "marker": {
                "symbol": "square", "size": size, "color": [float(one) for one in panel.values],
                "colorscale": SCALES[panel.cyclic],
            },
            "text": [f"unit {unit}: {value:.3g}" for unit, value in enumerate(panel.values)], "hoverinfo": "text",
            "showlegend": False, **ref,
        })  # fmt: skip
    name = panels[0].title.partition(":\n")[0]
    return Plot(
        drawn, layout, f"{name}: the units of the first seed’s network, each at its position.",
        f"Maps of the units of {name}: {', '.join(titles)}.", height=MAP, topography=topography,
    )  # fmt: skip


def _flat(positions: Any) -> Any:
    """Positions (C, D) as (C, 2): a line lies flat, a solid is seen from aside."""
    if positions.shape[1] == 3:
        return positions @ VIEW.T
    return positions if positions.shape[1] == 2 else np.column_stack([positions, np.zeros(len(positions))])
