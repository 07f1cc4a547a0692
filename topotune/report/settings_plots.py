"""Plots of a search by its settings: which of them matter, and where the good trials are."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from topotune.files import Row
from topotune.report import tables
from topotune.report.plot import PANEL, Plot, Trace, axes, grid, legend_once, trace
from topotune.report.search_plots import briefly, measured
from topotune.report.study import ReportStudy
from topotune.report.wording import number

SETTINGS_AT_MOST = 6  # panels of one setting each
BEST = 0.25  # the share of trials that parallel coordinates draw strongly
APART = 0.08  # of an axis, the least distance of two labels
WIDE = 30.0  # the ratio of the largest to the smallest value, from which on an axis is logarithmic


def importance_plot(study: ReportStudy) -> Plot | None:
    """How much each setting matters."""
    if not study.importances:
        return None
    names = list(reversed(study.importances))
    shares = [study.importances[name] for name in names]
    bars = {
        "type": "bar", "orientation": "h", "x": shares, "y": [_title(name) for name in names],
        "text": [f"{share:.2f}" for share in shares], "textposition": "auto", "marker": {"color": "#0072B2"},
        "hoverinfo": "x+y", "showlegend": False,
    }  # fmt: skip
    layout = axes("Importance", "")
    layout["yaxis"] |= {"automargin": True}
    return Plot(
        [bars], layout,
        "How much of what the objective varies by is due to each setting (PED-ANOVA, over the complete trials); of few "
        "trials, a rough guess.",
        "Bars of importance: " + ", ".join(f"{name} {share:.2f}" for name, share in study.importances.items()) + ".",
        height=120 + 36 * len(names),
    )  # fmt: skip


def settings_plot(study: ReportStudy) -> Plot | None:
    """The complete trials by one tuned setting each; λ has a plot of its own."""
    rows = measured(study.trials, "complete")
    names = [one.name for one in _dimensions(rows, tables.searched(study.trials))]
    names.sort(key=lambda name: -study.importances.get(name, 0.0))
    names = names[:SETTINGS_AT_MOST]
    if not names:
        return None
    layout, refs = grid([_title(name) for name in names], min(len(names), 3))
    for name, ref in zip(names, refs, strict=True):
        values = [row[name] for row in rows if row[name] is not None]
        if _logarithmic(values):
            layout[ref["xaxis"].replace("x", "xaxis")]["type"] = "log"
    drawn = []
    for topography in tables.in_order({str(row["topography"]) for row in rows}):
        for name, ref in zip(names, refs, strict=True):
            own = [row for row in rows if row["topography"] == topography and row[name] is not None]
            values = [100 * row["validation_accuracy"] for row in own]
            words = [briefly(row) for row in own]
            look = {"mode": "markers", "marker": {"size": 6}, "text": words}
            drawn.append(trace(topography, [row[name] for row in own], values, **look, **ref))
    return Plot(
        legend_once(drawn), layout,
        "Validation accuracy (%) of the complete trials by each setting that was tuned.",
        f"Scatter plots of validation accuracy against {', '.join(names)}.",
        height=max(330, 80 + PANEL * math.ceil(len(names) / 3)),
    )  # fmt: skip


def _logarithmic(values: Sequence[Any]) -> bool:
    numbers = [one for one in values if tables.known(one) and not isinstance(one, bool)]
    return len(numbers) == len(values) > 0 and min(numbers) > 0 and max(numbers) / min(numbers) > WIDE


class _Dimension:
    """One axis of parallel coordinates: where a value stands on it, from 0 to 1, and its ticks."""

    def __init__(self, name: str, title: str, values: Sequence[Any]) -> None:
        self.name, self.title = name, title
        known = [one for one in values if one is not None]
        self._log = _logarithmic(known)
        self._numbers = all(tables.known(one) and not isinstance(one, bool) for one in known)
        self._levels: list[Any] = sorted(set(known)) if self._numbers else tables.in_order(map(str, known))
        self.varies = len(self._levels) > 1

    def place(self, value: Any) -> float:
        """A value that there is none of stands below the axis."""
        if value is None:
            return -0.1
        if not self._numbers:
            return self._levels.index(str(value)) / (len(self._levels) - 1)
        low, high, own = (math.log(one) if self._log else one for one in (self._levels[0], self._levels[-1], value))
        return float((own - low) / (high - low))

    def ticks(self) -> list[tuple[float, str]]:
        """Where, and what is written there: every value for which there is room."""
        found: list[tuple[float, str]] = []
        for one in (*self._levels[-1:], *self._levels[:-1]):  # the end of the axis has its label in any case
            place = self.place(one)
            if all(abs(place - other) >= APART for other, _text in found):
                found.append((place, number(one)))
        return found


def _dimensions(rows: Sequence[Row], names: Iterable[str]) -> list[_Dimension]:
    every = [_Dimension(name, _title(name), [row[name] for row in rows]) for name in names]
    return [one for one in every if one.varies]


def _title(name: str) -> str:
    return {"weight": "λ"}.get(name, name.replace("_", " "))


def parallel_plot(study: ReportStudy) -> Plot | None:
    """A line a complete trial through the values of its settings and its accuracy."""
    rows = sorted(measured(study.trials, "complete"), key=lambda row: -row["validation_accuracy"])
    percents = ((row, 100 * row["validation_accuracy"]) for row in rows)
    rows = [row | {"weight": row["weight"] or None, "accuracy (%)": round(one, 2)} for row, one in percents]
    every = _dimensions(rows, ("topography", "weight", *tables.searched(study.trials), "accuracy (%)"))
    if len(every) < 2:
        return None
    best = [row["id"] for row in rows[: math.ceil(BEST * len(rows))]]
    drawn = []
    for topography in tables.in_order({str(row["topography"]) for row in rows}):
        own = [row for row in rows if row["topography"] == topography]
        for strong in (False, True):
            chosen = [row for row in own if (row["id"] in best) == strong]
            if chosen:
                drawn.append(_lines(topography, chosen, every, strong=strong))
    notes = [
        {
            "x": at, "y": place, "text": text, "showarrow": False, "xanchor": "left", "xshift": 4, "font": {"size": 11},
            "bgcolor": "white",
        }
        for at, one in enumerate(every)
        for place, text in one.ticks()
    ]  # fmt: skip
    layout: dict[str, Any] = {
        "annotations": notes,
        "xaxis": {
            "tickvals": list(range(len(every))), "ticktext": [one.title for one in every],
            "range": [-0.1, len(every) - 0.6], "showgrid": True, "side": "top",
        },
        "yaxis": {"visible": False, "range": [-0.14, 1.06]},
    }  # fmt: skip
    return Plot(
        legend_once(drawn[::-1])[::-1], layout,
        f"A line a complete trial, through the values of its settings; the best {BEST:.0%} are drawn strongly. A trial "
        "that has no such setting passes below its axis.",
        f"Parallel coordinates of {', '.join(one.title for one in every)}.",
        height=480,
    )  # fmt: skip


def _lines(topography: str, rows: Sequence[Row], every: Sequence[_Dimension], *, strong: bool) -> Trace:
    x: list[Any] = []
    y: list[Any] = []
    words: list[str] = []
    for row in rows:
        x += [*range(len(every)), None]
        y += [one.place(row[one.name]) for one in every] + [None]
        words += [briefly(row)] * (len(every) + 1)
    look: dict[str, Any] = {"mode": "lines+markers", "marker": {"size": 5}, "text": words}
    return trace(topography, x, y, **look, line={"width": 2 if strong else 1}, opacity=0.95 if strong else 0.35)
