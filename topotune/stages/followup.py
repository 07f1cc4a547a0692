"""The stages after the search: confirm and prune."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from topotune.config import TrialConfig
from topotune.errors import InputError, StageError
from topotune.files import Row, read_csv, replace_folder, write_csv
from topotune.folder import CONFIRM_COLUMNS, PRUNING_COLUMNS, StudyFolder, checkpoint_files, variant
from topotune.followup import confirm, pruning
from topotune.followup.lineage import pruning_metrics
from topotune.progress import Progress
from topotune.stages.session import Session, check_data, say
from topotune.stages.summary import summarise
from topotune.training import ARRANGEMENT, METRICS
from topotune.training.checkpoint import load_config

PART = 25  # ways of pruning that are tried, and kept, together: so much work at most is lost
CHECKPOINT = "checkpoint"  # the folder of a confirmed model among its run's artifacts


def confirm_best(session: Session) -> None:
    """Train the best settings of each topography, or of each variant, on several seeds, and test them."""
    from topotune.search.trial import train_on_cluster  # ray and torch

    folder, seeds = session.folder, session.file.option("confirm", "seeds")
    per, topographies = session.file.option("confirm", "per"), session.file.topographies
    selected = confirm.select(session.study.rows(), topographies, per)
    if not selected:
        raise InputError(
            f"study {folder.name!r} has no trial that can be confirmed; run: topotune search {folder.study_file}, "
            "with more of what its budget lacks (--set budget.hours=…)"
        )
    wanted = [variant(one, per) for one in session.file.variants() or ()] or topographies
    missing = [name for name in wanted if name not in {*selected, *(row["topography"] for row in selected.values())}]
    if missing:
        say(f"confirm: no usable trial of {', '.join(missing)}; left out")
    unseen = range(session.file.replicates, session.file.replicates + seeds)  # the search had those before
    wanted_jobs = list(confirm.jobs(folder, selected, unseen, session.site.data, train_on_cluster))
    variants = {job.config.hash: job.variant for job in wanted_jobs}
    rows = wanted_rows(folder, folder.confirm_table, CONFIRM_COLUMNS, lambda row: row["config_hash"] in variants)
    if any(row.get("variant") != variants[row["config_hash"]] for row in rows):  # they were confirmed as others
        rows = [row | {"variant": variants[row["config_hash"]]} for row in rows]
        write_csv(folder.confirm_table, CONFIRM_COLUMNS, rows)
    done = {row["config_hash"] for row in rows}
    todo = [job for job in wanted_jobs if job.config.hash not in done]
    if not todo:
        _keep_best_confirmed(session, rows)
        summarise(session)
        say(f"confirm: nothing to do, {len(rows)} models are there")
        return
    check_data(session.file, session.site)

    def keep(job: confirm.ConfirmJob, row: Row) -> str:
        rows.append(row | {"checkpoint": str(Path(row["checkpoint"]).relative_to(folder.path))})
        order = {one.config.hash: place for place, one in enumerate(wanted_jobs)}
        rows.sort(key=lambda one: order[one["config_hash"]])
        shutil.rmtree(job.out / "last", ignore_errors=True)  # nothing is left to go on from
        _log_confirmed(session, job, row)  # first: a row that is there is not looked at again
        write_csv(folder.confirm_table, CONFIRM_COLUMNS, rows)
        return f"{job.config.label}: test accuracy {row['test_accuracy']:.4f}"

    spread(session, "confirm", "models", confirm.confirm_one, todo, len(rows), keep)
    _keep_best_confirmed(session, rows)
    summarise(session)


def prune(session: Session) -> None:
    """Prune every confirmed checkpoint in every way asked for, and test it."""
    folder = session.folder
    models = folder.rows(folder.confirm_table)
    if not models:
        raise InputError(f"study {folder.name!r} has no confirmed models to prune; run: topotune confirm {folder.name}")
    ways = pruning.cuts_of(session.file.sections["prune"])
    cuts = {cut: place for place, cut in enumerate(ways)}
    order = {model["config_hash"]: place for place, model in enumerate(models)}
    there = folder.rows(folder.pruning_table)
    rows = [row for row in there if row["config_hash"] in order and pruning.Cut.of(row) in cuts]
    if len(rows) < len(there):
        say(f"prune: {len(there) - len(rows)} rows of other ways of pruning leave pruning.csv; MLflow keeps them")
    if rows != read_csv(folder.pruning_table):  # so that it says what study.toml says, in all of its columns
        write_csv(folder.pruning_table, PRUNING_COLUMNS, rows)
    done = {(row["config_hash"], pruning.Cut.of(row)) for row in rows}
    jobs = []
    for model in models:
        left = tuple(cut for cut in ways if (model["config_hash"], cut) not in done)
        for start in range(0, len(left), PART):
            part = left[start : start + PART]
            jobs.append(pruning.PruneJob(folder.path / model["checkpoint"], session.site.data, part))
    if not jobs:
        say(f"prune: nothing to do, {len(models)} models are pruned in {len(cuts)} ways")
        summarise(session)
        return

    def keep(job: pruning.PruneJob, curve: list[Row]) -> str:
        rows.extend(curve)
        rows.sort(key=lambda one: (order[one["config_hash"]], cuts[pruning.Cut.of(one)]))
        _log_pruned(session, load_config(job.checkpoint), curve)
        write_csv(folder.pruning_table, PRUNING_COLUMNS, rows)
        return f"{curve[0]['topography']} seed={curve[0]['seed']}: {len(curve)} ways of pruning"

    total = len(models) * -(-len(cuts) // PART)
    spread(session, "prune", "parts", pruning.prune_one, jobs, max(total - len(jobs), 0), keep)
    summarise(session)


def wanted_rows(folder: StudyFolder, table: Path, columns: Sequence[str], wanted: Callable[[Row], bool]) -> list[Row]:
    """The rows that are still asked for; the others leave the table, so that it says what study.toml says."""
    there = folder.rows(table)
    rows = [row for row in there if wanted(row)]
    if rows != there:
        write_csv(table, columns, rows)
    return rows


def spread(
    session: Session,
    stage: str,
    unit: str,
    function: Callable[[Any], Any],
    jobs: Sequence[Any],
    done: int,
    keep: Callable[[Any, Any], str],
) -> None:
    """Run the jobs on the cluster and keep each result as it comes.

    Raises:
        InputError: a job's input was wrong (data, a checkpoint).
        StageError: jobs failed; raised once all the others are over.
    """
    wanted = session.join_cluster()
    from topotune.search import runner

    failures: list[Exception] = []
    with Progress(stage, unit, done + len(jobs), done) as progress:
        for job, outcome in runner.spread(function, jobs, wanted, session.folder.path, progress.started):
            if isinstance(outcome, InputError):
                raise outcome
            if isinstance(outcome, Exception):
                failures.append(outcome)
                progress.ended("failed", f"{stage}: failed: {str(outcome).splitlines()[-1]}")
            else:
                progress.ended("done", keep(job, outcome))
        progress.say(progress.summary())
    if failures:
        reason = str(failures[0]).strip().splitlines()[-1]
        raise StageError(
            f"{stage}: {len(failures)} of {len(jobs)} {unit} failed ({reason}); the same command tries again"
        )


def _keep_best_confirmed(session: Session, rows: Sequence[Row]) -> None:
    """``best/``: of the variant with the best mean validation accuracy, the best seed. The test set has no say.

    MLflow registers it under the study's name; told each time, since a driver may have been killed before it was.
    """
    folder = session.folder
    means: dict[str, list[float]] = {}
    for row in rows:
        means.setdefault(row["variant"], []).append(row["validation_accuracy"])
    winner = max(means, key=lambda name: sum(means[name]) / len(means[name]))
    best = max((row for row in rows if row["variant"] == winner), key=lambda row: row["validation_accuracy"])
    if not folder.best.exists() or load_config(folder.best).hash != best["config_hash"]:
        replace_folder(folder.best, checkpoint_files(folder.path / best["checkpoint"]))
    tags = {"study": session.file.name, "config_hash": best["config_hash"], "test_accuracy": best["test_accuracy"]}
    session.tracker.best(f"confirm/{best['config_hash']}", session.file.name, CHECKPOINT, tags)


def _log_confirmed(session: Session, job: confirm.ConfirmJob, row: Row) -> None:
    key = f"confirm/{row['config_hash']}"
    session.begin(key, job.config, f"trial/{job.trial}", "confirm")
    for epoch in read_csv(job.out / METRICS):
        session.tracker.metrics(key, epoch["epoch"], {name: value for name, value in epoch.items() if name != "epoch"})
    final = {name: row[name] for name in ("test_accuracy", "test_roc_auc")}
    final |= {"best_validation_accuracy": row["validation_accuracy"]}
    session.tracker.metrics(key, row["epochs"], final)
    for file in checkpoint_files(job.out):
        if file.name == ARRANGEMENT:
            session.log_arrangement(key, file)
        session.tracker.artifact(key, file, CHECKPOINT)
    session.tracker.end(key, tags={"state": "complete"})


def _log_pruned(session: Session, config: TrialConfig, curve: Sequence[Row]) -> None:
    key = f"prune/{config.hash}"
    session.begin(key, config, f"confirm/{config.hash}", "prune")
    for row in curve:
        session.tracker.metrics(key, *pruning_metrics(row))
    session.tracker.end(key, tags={"state": "complete"})
