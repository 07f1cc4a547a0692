"""Interactive plots as plain data for Plotly's JavaScript: traces and a layout, as its JSON schema has them.

A trace of one topography says so in ``meta``, so that the page's filter finds it. Colours of text, page and grid are
the page's own, which is light or dark.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from topotune.config import NONE
from topotune.report.style import style_of
from topotune.report.tables import Curve

Trace = dict[str, Any]
SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross", "X": "x",
}  # fmt: skip
DASHES = {"-": "solid", "--": "dash", ":": "dot"}
DIGITS = 6  # significant ones of a number in the page
COLUMNS = 3  # of small panels
PANEL = 230  # pixels, the height of one of several small panels


class Plot(NamedTuple):
    """A plot, the words under it, and those for readers who cannot see it. height: pixels; topography: whose alone it
    is, if it is one's."""

    data: list[Trace]
    layout: dict[str, Any]
    caption: str
    description: str
    height: int = 430
    topography: str = ""


def trace(topography: str, x: Sequence[Any], y: Sequence[Any], **look: Any) -> Trace:
    """A trace of one topography, in its colour, marker and line; ``look`` adds or replaces."""
    colour, marker, line = style_of(topography)
    own: Trace = {
        "type": "scatter", "x": list(x), "y": list(y), "name": label(topography), "legendgroup": topography,
        "meta": {"topography": topography}, "marker": {"color": colour, "symbol": SYMBOLS[marker], "size": 8},
        "line": {"color": colour, "dash": DASHES[line], "width": 2}, "hoverinfo": "text",
    }  # fmt: skip
    for name, value in look.items():
        own[name] = own[name] | value if isinstance(value, dict) and name in own else value
    return own


def label(topography: str) -> str:
    """As legends name it."""
    return f"{topography} (control)" if topography == NONE else topography


def band(topography: str, x: Sequence[float], low: Sequence[float], high: Sequence[float], **look: Any) -> Trace:
    """The area between two curves, in a topography's colour."""
    shape = {"mode": "lines", "fill": "toself", "line": {"width": 0}, "opacity": 0.15, "showlegend": False}
    own = trace(topography, [*x, *reversed(x)], [*low, *reversed(high)], **shape, hoverinfo="skip", **look)
    return own | {"fillcolor": style_of(topography).colour}


def curve(topography: str, own: Curve, scale: float, **look: Any) -> list[Trace]:
    """The mean over the seeds, and a band of ± one standard deviation. scale: of the horizontal axis."""
    at = [scale * point.proportion for point in own.points]
    mean = [100 * point.mean for point in own.points]
    std = [100 * (point.std or 0.0) for point in own.points]
    text = [
        f"{label(topography)}<br>at {x:g}: {m:.2f}"
        + f" ± {s:.2f}" * (point.std is not None)
        + f"%, {point.seeds} seeds"
        for x, m, s, point in zip(at, mean, std, own.points, strict=True)
    ]
    below = [middle - spread for middle, spread in zip(mean, std, strict=True)]
    above = [middle + spread for middle, spread in zip(mean, std, strict=True)]
    axes = {name: look[name] for name in ("xaxis", "yaxis") if name in look}
    line = trace(topography, at, mean, mode="lines+markers", marker={"size": 5}, text=text, **look)
    return [band(topography, at, below, above, **axes), line] if any(std) else [line]


def axes(x: str, y: str, **more: Any) -> dict[str, Any]:
    """The layout of a single panel with these words at its axes."""
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}} | more


def whole(words: str, last: int) -> dict[str, Any]:
    """An axis of whole numbers up to the last: without halves between two of them, where these are few."""
    return {"title": {"text": words}} | ({"dtick": 1} if last <= 12 else {})


def grid(titles: Sequence[str], columns: int, *, gap: float = 0.07, **axis: Any) -> tuple[dict[str, Any], list[Trace]]:
    """A layout of small panels with titles, and the axes of each, as its traces name them. axis: of every one.

    Where the panels stand is the page's to say, which knows its width: ``columns`` beside each other, or as many as
    there is room for. ``gap`` between them is a share of the width.
    """
    layout: dict[str, Any] = {"meta": {"grid": {"columns": columns, "gap": gap}}, "annotations": []}
    refs: list[Trace] = []
    for place, title in enumerate(titles):
        number = str(place + 1) if place else ""
        layout[f"xaxis{number}"] = {"anchor": f"y{number}"} | axis
        layout[f"yaxis{number}"] = {"anchor": f"x{number}"} | axis
        layout["annotations"].append({
            "text": title, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom",
            "showarrow": False, "font": {"size": 12},
        })  # fmt: skip
        refs.append({"xaxis": f"x{number}", "yaxis": f"y{number}"})
    return layout, refs


def legend_once(traces: Sequence[Trace]) -> list[Trace]:
    """Each topography once in the legend, whose entry stands for all of its traces."""
    shown: set[Any] = set()
    for one in traces:
        if one.get("showlegend", True):
            one["showlegend"] = one.get("legendgroup") not in shown
            shown.add(one.get("legendgroup"))
    return list(traces)


def as_json(plots: Mapping[str, Plot]) -> str:
    """All plots of a page for its script; it can stand within an element of HTML."""
    told = {name: {"data": one.data, "layout": one.layout | {"height": one.height}} for name, one in plots.items()}
    text = json.dumps(_rounded(told), separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value
