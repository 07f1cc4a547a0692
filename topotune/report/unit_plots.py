"""Plots of what units represent: correlation against distance, and maps. C units in D dimensions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from topotune.report.analysis import TURN, Bin, Key, Panel, by_organisation, curves, gap, name_of, role_of
from topotune.report.plot import COLUMNS, DASHES, PANEL, Plot, Trace, band, grid, legend_once, trace
from topotune.report.study import ReportStudy
from topotune.report.style import style_of

MAP = 170  # pixels, the height of a row of maps
# cyclic: it ends as it began (the colours of matplotlib's twilight, every fourth of them)
CYCLIC = ("#e2d9e2", "#8fb0c8", "#6276ba", "#5a2a8f", "#2f1436", "#731d4f", "#b25652", "#c8a38a", "#e2d9e2")
SCALES: dict[bool, Any] = {False: "Viridis", True: [[place / 8, colour] for place, colour in enumerate(CYCLIC)]}
# from where three dimensions are looked at: orthonormal rows, (2, 3)
VIEW = np.array([[0.894, -0.447, 0.0], [-0.183, -0.365, 0.913]])


def correlation_plot(study: ReportStudy) -> Plot | None:
    """Mean correlation of pairs of units by their distance, a panel an organisation."""
    groups = by_organisation(curves(study.looked_at))
    if not groups:
        return None
    columns = min(len(groups), COLUMNS)
    layout, refs = grid(list(groups), columns)
    drawn = [
        one
        for own, ref in zip(groups.values(), refs, strict=True)
        for key, bins in own.items()
        for one in _curve(key, bins, ref)
    ]
    return Plot(
        legend_once(drawn), layout,
        "Correlation of two units’ responses against the distance of their positions: mean over the seeds. The bands "
        "hold 95% of what shuffled positions give.",
        "Mean correlation of pairs of units against their distance: a panel an organisation, with bands for shuffled "
        "positions.",
        height=max(380, 90 + PANEL * math.ceil(len(groups) / columns)),
    )  # fmt: skip


def _curve(key: Key, bins: Sequence[Bin], ref: Trace) -> list[Trace]:
    at, name = [one.distance for one in bins], role_of(key)
    words = [f"{name_of(key)}<br>distance {one.distance:.3g}: r = {one.mean:.3f}" for one in bins]
    look = {"mode": "lines+markers", "marker": {"size": 5}, "text": words, "name": name, "legendgroup": name}
    dash = {"line": {"dash": DASHES[style_of(key[1]).line]}}
    return [
        band(key[0], at, [one.low for one in bins], [one.high for one in bins], **ref),
        trace(key[0], at, [one.mean for one in bins], **look, **dash, **ref),
    ]


def map_plot(key: Key, panels: Sequence[Panel]) -> Plot:
    """The maps of one network beside each other: every unit is a square at its position."""
    layout, refs = grid([panel.title for panel in panels], len(panels), gap=0.03, visible=False)
    layout["margin"] = {"l": 10, "r": 10, "t": 30, "b": 10}
    drawn: list[Trace] = []
    for panel, ref in zip(panels, refs, strict=True):
        places = _flat(panel.positions)
        layout[ref["yaxis"].replace("y", "yaxis")] |= {"scaleanchor": ref["xaxis"]}
        share = 0.3 if panel.positions.shape[1] == 3 else 1.0  # one does not hide those behind it
        apart = gap(panel.positions) * max(np.ptp(panel.positions, axis=0).max(), 1e-9)
        ends = np.stack([places.min(0) - apart / 2, places.max(0) + apart / 2])  # of both axes
        for axis, own in zip(ref.values(), ends.T.tolist(), strict=True):
            layout[f"{axis[0]}axis{axis[1:]}"]["range"] = own
        drawn.append({
            "type": "scatter", "mode": "markers", "x": places[:, 0].tolist(), "y": places[:, 1].tolist(),
            "marker": {
                "symbol": "square", "color": [float(one) for one in panel.values],
                "colorscale": SCALES[panel.cyclic], **({"cmin": 0, "cmax": TURN} if panel.cyclic else {}),
                "colorbar": {
                    "thickness": 7, "nticks": 4, "tickfont": {"size": 9}, "outlinewidth": 0, "xanchor": "left",
                },
            },
            "meta": {"extent": np.ptp(ends, axis=0).tolist(), "side": share * apart},  # in the positions' unit
            "text": [f"unit {unit}: {value:.3g}" for unit, value in enumerate(panel.values)], "hoverinfo": "text",
            "showlegend": False, **ref,
        })  # fmt: skip
    told = ", ".join(panel.title for panel in panels)
    return Plot(drawn, layout, name_of(key), f"Maps of the units of {name_of(key)}: {told}.", MAP, topography=key[0])


def _flat(positions: Any) -> Any:
    """Positions (C, D) as (C, 2): a line lies flat, a solid is seen from aside."""
    if positions.shape[1] == 3:
        return positions @ VIEW.T
    return positions if positions.shape[1] == 2 else np.column_stack([positions, np.zeros(len(positions))])
