"""The report of one study: a single HTML file that needs nothing beside it, from whatever the study has so far."""

import base64
import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined

from topotune.config import NONE
from topotune.errors import InputError
from topotune.files import Row, read_csv, read_json, write_text
from topotune.folder import StudyFolder
from topotune.report import analysis, figures, robustness, tables, unit_figures, wording

DESCRIPTIONS = {
    "accuracy_against_weight": (
        "Scatter plot of validation accuracy against λ on a logarithmic scale, by topography, "
        "with the control as a horizontal line."
    ),
    "confirmed_accuracy": (
        "Test accuracy of each confirmed topography: one point a seed, a bar at the mean, "
        "and a horizontal line at the mean of the control."
    ),
    "pruning_accuracy": (
        "Accuracy against the proportion pruned: one curve a topography, with bands of one standard deviation."
    ),
    "robustness_accuracy": (
        "Accuracy against the level of each perturbation, a panel each: one curve a topography, with bands of one "
        "standard deviation."
    ),
    "correlation_against_distance": (
        "Mean correlation of pairs of units against their distance: one curve a topography, with bands for shuffled "
        "positions."
    ),
    "unit_maps": "Maps of the units: a row a topography, a square a unit at its position, coloured by what it prefers.",
}


SVG_AT_MOST = 150_000  # characters: a denser figure is a PNG within the page, which does not grow with the trials
SEARCH = "search_"  # the figures that are handed in begin so


class Drawing(NamedTuple):
    """A figure that is handed in, the words under it, and those for readers who cannot see it."""

    name: str
    figure: Any
    caption: str
    description: str


class Picture(NamedTuple):
    """A figure within the page: an image as a data URI, its size there in pixels, and its words."""

    source: str
    description: str
    width: int
    height: int
    caption: str = ""


@dataclass(frozen=True)
class _Study:
    """All that the page is made of."""

    folder: StudyFolder
    asked: dict[str, Any]
    summary: dict[str, Any]
    trials: list[Row]
    confirmed: list[Row]
    pruned: list[Row]
    tried: list[Row]
    looked_at: list[Row]


def write_report(folder: StudyFolder, search: Sequence[Drawing] = ()) -> Path:
    """Write ``figures/*.png`` and ``report.html`` into a study's folder; the path of the latter.

    ``search`` holds figures of the search that were drawn elsewhere, named ``search_…``. Stages that have not run are
    named as such, so the report can be written at any time.

    Raises:
        InputError: the study's own file or its summary is missing or broken.
    """
    study = _read(folder)
    for gone in {path.stem for path in folder.figures.glob(f"{SEARCH}*.png")} - {one.name for one in search}:
        (folder.figures / f"{gone}.png").unlink()
    searched = [_picture(folder, one) for one in search]
    write_text(folder.report, _render(study, _draw(study), searched))
    return folder.report


def _read(folder: StudyFolder) -> _Study:
    return _Study(
        folder=folder,
        asked=_read_toml(folder.study_file),
        summary=read_json(folder.summary),
        trials=read_csv(folder.trials_table),
        confirmed=folder.by_variant(read_csv(folder.confirm_table)),
        pruned=folder.by_variant(folder.pruned()),
        tried=folder.by_variant(read_csv(folder.robustness_table)),
        looked_at=folder.by_variant(analysis.last_layer(read_csv(folder.analysis_table))),
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid TOML ({error})") from None


def _draw(study: _Study) -> dict[str, Picture | None]:
    """Every figure that there are rows for, written as PNG and made ready for the page."""
    trials = tables.accuracy_by_topography(study.trials)
    confirmed = tables.confirmed_by_topography(study.confirmed)
    tried = robustness.curves(study.tried)
    near, maps = analysis.curves(study.looked_at), analysis.panels(study.folder, study.looked_at)
    drawn: dict[str, Any] = {
        "accuracy_against_weight": figures.accuracy_against_weight(trials) if trials else None,
        "confirmed_accuracy": figures.confirmed_accuracy(confirmed) if confirmed else None,
        "robustness_accuracy": figures.robustness_accuracy(tried) if tried else None,
        "correlation_against_distance": unit_figures.correlation_against_distance(near) if near else None,
        "unit_maps": unit_figures.unit_maps(maps) if maps else None,
    }
    drawn |= {name: figures.pruning_accuracy(curves) for name, (_way, curves) in _curves(study).items()}
    for path in study.folder.figures.glob("pruning_accuracy*.png"):
        if path.stem not in drawn:
            path.unlink()  # an earlier report's, on rows that are gone
    pictures: dict[str, Picture | None] = {}
    for name, figure in drawn.items():
        if figure is None:
            # an earlier report's, on rows that are gone
            (study.folder.figures / f"{name}.png").unlink(missing_ok=True)
            pictures[name] = None
        else:
            pictures[name] = _picture(study.folder, Drawing(name, figure, "", DESCRIPTIONS[name.partition("-")[0]]))
    return pictures


def _picture(folder: StudyFolder, drawing: Drawing) -> Picture:
    """Write a figure as PNG, and make it ready for the page."""
    path = folder.figures / f"{drawing.name}.png"
    kind, content = "svg+xml", figures.save(drawing.figure, path).encode()
    if len(content) > SVG_AT_MOST:
        kind, content = "png", path.read_bytes()
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    width, height = (round(100 * inches) for inches in drawing.figure.get_size_inches())
    return Picture(source, drawing.description, width, height, drawing.caption)


def _curves(study: _Study) -> dict[str, tuple[str, dict[str, tables.Curve]]]:
    """Each way of pruning: the name of its figure, in words, and its curves. The first one's figure has no number."""
    ways = {way: tables.pruning_curves(rows) for way, rows in tables.pruning_ways(study.pruned).items()}
    known = [(way, curves) for way, curves in ways.items() if curves]
    return {
        f"pruning_accuracy-{number}" if number > 1 else "pruning_accuracy": one
        for number, one in enumerate(known, start=1)
    }


def _render(study: _Study, pictures: dict[str, Picture | None], searched: Sequence[Picture]) -> str:
    # every value is escaped: names and settings are whatever a study file holds
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("topotune.report").joinpath("page.html.j2").read_text(encoding="utf-8"))
    asked, summary = study.asked, study.summary
    about, board = asked.get("study", {}), tables.leaderboard(study.trials)
    return template.render(
        title=str(about.get("name") or study.folder.name),
        description=str(about.get("description") or ""),
        argument=shlex.quote(study.folder.name),
        sentences=_sentences(study),
        findings=_findings(summary),
        settings=tables.settings_table(asked),
        method=tables.method_table(asked),
        leaderboard=board,
        board=wording.board_caption(asked.get("objective", {}), len(board.rows)),
        confirmed=tables.confirmed_table(summary.get("confirm") or []),
        pruned=[(way, pictures[name], tables.pruning_table(own)) for name, (way, own) in _curves(study).items()],
        areas=tables.pruning_summary(summary.get("pruning") or []),
        robustness=robustness.table(study.tried),
        analysis=analysis.table(study.looked_at),
        provenance=_provenance(summary),
        models=tables.confirmed_models(study.confirmed),
        pictures=pictures,
        searched=searched,
    )


def _sentences(study: _Study) -> list[str]:
    counts = study.summary.get("trials") or tables.count_states(study.trials)
    summary = study.summary
    best, kept = wording.best_sentence(summary.get("best_trial")), summary.get("best_checkpoint")
    return [wording.trials_sentence(counts), best, wording.checkpoint_sentence(kept)]


def _findings(summary: dict[str, Any]) -> list[str]:
    """A sentence for each confirmed topography, the one that the search preferred first."""
    preferred = (summary.get("best_trial") or {}).get("topography")
    confirmed = [one for one in summary.get("confirm") or [] if one["topography"] != NONE]
    rank = {name: place for place, name in enumerate(tables.in_order(one["topography"] for one in confirmed))}
    confirmed.sort(key=lambda one: (one["topography"] != preferred, rank[one["topography"]]))
    return [wording.finding(one) for one in confirmed]


def _provenance(summary: dict[str, Any]) -> tables.Table:
    """Where the numbers come from: enough to make them again."""
    known = summary.get("provenance") or {}
    seeds = ", ".join(str(seed) for seed in known.get("confirm_seeds") or [])
    told = (
        ("Study hash", summary.get("study_hash")),
        ("Git commit", known.get("git_commit")),
        ("Data checksum", known.get("data_checksum")),
        ("Seed of the search", known.get("seed")),
        ("Seeds of the confirmation", seeds),
        ("Created", known.get("created")),
        *((f"Version of {name}", version) for name, version in sorted((known.get("versions") or {}).items())),
    )
    rows = tuple((name, "not recorded" if value in (None, "") else str(value)) for name, value in told)
    return tables.Table(("What", "Value"), rows, words=2)
