"""The report: a single HTML file that needs nothing beside it, from whatever one study or several have so far."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from topotune.config import NONE
from topotune.files import write_text
from topotune.report import comparison, result_plots, tables, wording
from topotune.report.plot import Plot, as_json
from topotune.report.section import section
from topotune.report.study import ReportStudy
from topotune.report.style import style_of, tell_apart


def write_report(studies: Sequence[ReportStudy], path: Path) -> Path:
    """Write one page on one study, or several beside each other; its path.

    Studies of one name are told apart by their folders. Stages that have not run are named as such, so the report can
    be written at any time.

    Raises:
        InputError: a file of maps is damaged.
    """
    names = [study.name for study in studies]
    write_text(path, _render([
        replace(study, apart=f" ({study.folder.path})") if names.count(study.name) > 1 else study for study in studies
    ]))  # fmt: skip
    return path


def _render(studies: Sequence[ReportStudy]) -> str:
    several = len(studies) > 1
    names = tables.in_order({name for study in studies for name in study.topographies})
    tell_apart(names)
    told: list[dict[str, Any]] = []
    plots: dict[str, Plot] = {}
    for number, study in enumerate(studies, start=1):
        own, drawn = section(study, f"s{number}-" if several else "")
        told.append(own)
        plots |= drawn
    beside: dict[str, Any] = {}
    if several:
        named = [(study.name, study.summary.get("confirm") or []) for study in studies]
        if differences := result_plots.difference_plot(named):
            plots["differences"] = differences
        beside = {"overview": comparison.overview(studies), "comparison": comparison.in_layout(studies)}
    # every value is escaped: names and settings are whatever a study file holds
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_text("page.html.j2")).render(
        title=wording.listed([study.name for study in studies]),
        studies=told,
        several=several,
        level=3 if several else 2,
        topographies=[(name, "currentColor" if name == NONE else style_of(name).colour) for name in names],
        plots=plots,
        **beside,
        **_scripts(plots),
    )


def _scripts(plots: dict[str, Plot]) -> dict[str, Any]:
    """What stands in the page as it is; only the scripts with these hashes run in it."""
    scripts = {"plotly": get_plotlyjs(), "js": _text("page.js")}
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts.values())
    own = {name: Markup(text) for name, text in scripts.items()}
    known = Markup(" ".join(f"'sha256-{one}'" for one in hashes))
    return own | {"script_hashes": known, "css": Markup(_text("page.css")), "data": Markup(as_json(plots))}


def _text(name: str) -> str:
    return files("topotune.report").joinpath(name).read_text(encoding="utf-8")
