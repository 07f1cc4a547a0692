"""What is left when a stage is over: summary.json and the report."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topotune import provenance
from topotune.config import NONE
from topotune.files import Row, read_table, write_json
from topotune.folder import StudyFolder, checkpoint_files, ranked
from topotune.followup.curves import summarise_curves, summarise_robustness
from topotune.followup.effects import summarise_effects
from topotune.followup.statistics import compare
from topotune.stages.session import Session
from topotune.training.checkpoint import load_config
from topotune.training.records import read_result

if TYPE_CHECKING:
    from topotune.report.study import ReportStudy


def report(session: Session, path: Path | None = None) -> Path:
    """Write report.html, or ``path``, from whatever there is."""
    from topotune.report.page import write_report  # Plotly: a search need not wait for it

    summarise(session)
    path = write_report([_read(session.folder)], path or session.folder.report)
    for file in (path, session.folder.summary, session.folder.study_file, session.folder.trials_table):
        session.tracker.artifact("study", file, "report")
    for figure in sorted(session.folder.figures.glob("*.png")):
        session.tracker.artifact("study", figure, "report/figures")
    for file in checkpoint_files(session.folder.best):
        if file.exists():
            session.tracker.artifact("study", file, "best")
    return path


def report_several(folders: Sequence[StudyFolder], path: Path) -> Path:
    """Write one page on several studies as they stand; nothing of theirs is changed.

    Raises:
        InputError: a file of a study is missing or damaged.
    """
    from topotune.report.page import write_report

    return write_report([_read(folder) for folder in folders], path)


def _read(folder: StudyFolder) -> "ReportStudy":
    """A study's files, and what only its journal can say."""
    from topotune.report.study import ReportStudy
    from topotune.search import analysis

    study = analysis.open_read_only(folder)
    return ReportStudy.read(folder, analysis.importances(study) if study else {})


def concluded(session: Session) -> bool:
    """Whether summary.json was written for the trials as they are now."""
    if not session.folder.summary.exists():
        return False
    return bool(read_table(session.folder.summary).get("trials") == _counts(session.study.rows()))


def summarise(session: Session, data_checksum: str | None = None) -> None:
    """Write summary.json from the study and the tables."""
    folder, rows = session.folder, session.study.rows()
    confirmed = folder.rows(folder.confirm_table)
    best = next(iter(ranked(rows)), None)
    before = read_table(folder.summary) if folder.summary.exists() else {}
    known = before.get("provenance", {})
    summary: dict[str, Any] = {
        "study": session.file.name,
        "study_hash": session.file.hash,
        "trials": _counts(rows),
        "epochs": sum(row["epochs"] for row in rows if not row.get("source")),
        "best_trial": best and {key: best[key] for key in _BEST if key in best},
        "best_checkpoint": _best_checkpoint(folder),
        "confirm": compare(folder.by_variant(confirmed), NONE),
        "pruning": summarise_curves(folder.by_variant(folder.rows(folder.pruning_table)), NONE),
        "robustness": summarise_robustness(folder.by_variant(folder.rows(folder.robustness_table)), NONE),
        "analysis": summarise_effects(folder.by_variant(folder.rows(folder.analysis_table)), NONE),
        "provenance": {
            "git_commit": session.commit,
            "data_checksum": data_checksum or known.get("data_checksum"),
            "versions": provenance.versions(),
            "seed": session.file.option("study", "seed"),
            "confirm_seeds": sorted({row["seed"] for row in confirmed}),
        },
    }
    summary["provenance"]["created"] = known.get("created")
    if summary != before:  # only news get a new time
        summary["provenance"]["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(folder.summary, summary)


def _best_checkpoint(folder: StudyFolder) -> dict[str, Any] | None:
    """What ``best/`` holds: after confirm it need not be the search's best configuration."""
    result = read_result(folder.best)
    if result is None:
        return None
    config = load_config(folder.best)
    found = {"topography": config.topography, "weight": config.weight, "seed": config.seed}
    return found | {"validation_accuracy": result.validation_accuracy}


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    return {state: sum(row["state"] == state for row in rows) for state in _STATES}


_BEST = ("id", "topography", "weight", "validation_accuracy", "feasible")
_STATES = ("complete", "pruned", "failed", "running", "repeated")
