"""The stage that looks into the confirmed models."""

from collections.abc import Sequence

from topotune.analysis.measure import AnalysisJob, Outcome, analyse_one
from topotune.analysis.models import Asked, compare_models, jobs_of, models_of
from topotune.analysis.positions import every_layer
from topotune.analysis.table import AnalysisTable
from topotune.errors import InputError
from topotune.files import Row
from topotune.stages.followup import spread
from topotune.stages.session import Session, say


def analyse(session: Session, asked: Asked) -> list[Row]:
    """Analyse every confirmed checkpoint; rows that are there with the same settings stay. All rows.

    Raises:
        InputError: no model is confirmed, or an analysis or a name does not suit.
    """
    folder, site = session.folder, session.site
    confirmed = folder.rows(folder.confirm_table)
    if not confirmed:
        raise InputError(
            f"study {folder.name!r} has no confirmed models to analyse; run: topotune confirm {folder.name}"
        )
    checkpoints = [folder.path / one["checkpoint"] for one in confirmed]
    models = models_of(checkpoints, asked, site.data, session.file.topographies, site.download)
    weights = [one.weights for one in models]
    table = AnalysisTable(folder.analysis_table, asked.settings, weights, every_layer(one.config for one in models))
    table.forget(weights)
    jobs = jobs_of(models, table, asked.settings, site.data)

    def keep(job: AnalysisJob, outcome: Outcome) -> str:
        _log(session, outcome)
        table.keep(job, outcome)
        return f"{outcome.config.label}: {len(job.names)} analyses of {', '.join(job.layers)}"

    if jobs:
        spread(session, "analyze", "models", analyse_one, jobs, len(models) - len(jobs), keep)
    pairs = list(compare_models(models, table, asked.settings, site.data))
    if pairs:
        table.keep_pairs(pairs)
    elif not jobs:
        say(f"analyze: nothing to do, {len(models)} models are analysed with {asked.settings.words}")
    return table.rows


def _log(session: Session, outcome: Outcome) -> None:
    """Tell MLflow the measures of which there is one."""
    config = outcome.config
    key = f"analysis/{config.hash}"
    session.begin(key, config, f"confirm/{config.hash}", "analysis")
    session.tracker.metrics(key, 0, _metrics(outcome.rows))
    session.tracker.end(key, tags={"state": "complete"})


def _metrics(rows: Sequence[Row]) -> dict[str, float]:
    names = ("layer", "positions", "analysis", "measure")
    return {
        "/".join(str(row[name]) for name in names if row[name]): row["value"]
        for row in rows
        if row["at"] is None and row["value"] is not None
    }
