"""The search stage, and those who look on while it runs."""

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from topotune.files import Row, read_csv, replace_folder
from topotune.folder import checkpoint_files, ranked
from topotune.followup.objectives import measure
from topotune.progress import Progress
from topotune.search import table
from topotune.search.study import Asked, Study
from topotune.search.system import SYSTEM
from topotune.search.watch import Watcher
from topotune.stages.session import Session, check_data, say
from topotune.stages.summary import concluded, summarise
from topotune.training import ARRANGEMENT, METRICS, WEIGHTS


def search(session: Session) -> None:
    """Search until the budget is spent; nothing is left to do when it was spent before."""
    study, logged = session.study, _Logged(session)
    rows = study.rows()
    ended = [row for row in rows if row["state"] not in ("running", table.REPEATED)]
    logged.catch_up(rows)
    if study.over:
        if not concluded(session):  # a driver was killed between the last trial's end and the tables
            _conclude(session, check_data(session.file, session.site))
        say(f"search: nothing to do, {study.over}; {_counted(session)}")
        return
    checksum = check_data(session.file, session.site)
    wanted = session.join_cluster()
    from topotune.search import runner  # ray: seconds that a finished stage need not wait for

    begun = sum(not row.get("source") for row in ended)  # not those of a warm start
    with Progress("search", "trials", _most(session), begun) as progress:
        watchers = [_Shown(progress, ended), logged, _Listed(study)]
        runner.search(study, session.site.data, wanted, watchers, measure)
        progress.say(progress.summary())
    _conclude(session, checksum)
    why = study.over or ("the sampler suggests only what was tried" if study.gave_up else "ended")
    say(f"search: {why}; {_counted(session)}")


def _most(session: Session) -> int:
    """How many trials there can be."""
    return int(min(session.file.option("budget", "trials"), session.file.size()))


def _counted(session: Session) -> str:
    """How many trials there are, by their state, while none is at work."""
    states = Counter(row["state"].replace("running", "paused") for row in session.study.rows())
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _conclude(session: Session, checksum: str) -> None:
    """Tables and ``best/`` first, the summary last: its counts say that the search has been concluded."""
    rows = session.study.write_table()
    kept = [row for row in ranked(rows) if (session.folder.trial(row["id"]) / WEIGHTS).exists()]
    best = next(iter(kept), None)  # a trial of elsewhere may have lost its weights
    if best:
        replace_folder(session.folder.best, checkpoint_files(session.folder.trial(best["id"])))
    if best and best.get("feasible") is False:
        say("search: no complete trial keeps the constraints; the best of the others stands in best/")
    summarise(session, data_checksum=checksum)


class _Shown(Watcher):
    """Progress of a search."""

    def __init__(self, progress: Progress, before: Iterable[Row]) -> None:
        best = next(iter(ranked(before)), None)
        self._progress, self._best = progress, best["validation_accuracy"] if best else -1.0
        progress.best = f"{self._best:.4f} (trial {best['id']})" if best else ""

    def trial_started(self, asked: Asked) -> None:
        self._progress.started(asked.number, asked.config.label, asked.config.epochs)

    def epoch_done(self, asked: Asked, metrics: dict[str, Any]) -> None:
        self._progress.epoch(asked.number, metrics["epoch"], metrics["validation_accuracy"])

    def trial_restarted(self, asked: Asked, why: str) -> None:
        self._progress.say(f"trial {asked.number} {asked.config.label}: {why}; it goes on from its last checkpoint")

    def trial_paused(self, asked: Asked) -> None:
        self._progress.paused(
            asked.number, f"trial {asked.number} {asked.config.label}: paused; it goes on when the study does"
        )

    def trial_ended(self, asked: Asked, state: str, record: dict[str, Any]) -> None:
        value = record["validation_accuracy"]
        if state == "complete" and value > self._best:
            self._best = value
            self._progress.best = f"{value:.4f} ({asked.config.label})"
        what = f"{value:.4f} after {record['epochs']} epochs" if value is not None else ""
        why = f": {record['reason']}" if record["reason"] else ""
        text = f"trial {asked.number} {asked.config.label}: {state} {what}{why}"
        self._progress.ended(state, text, asked.number)


class _Logged(Watcher):
    """A search, as MLflow is told of it."""

    def __init__(self, session: Session) -> None:
        self._session, self._tracker = session, session.tracker

    def catch_up(self, rows: Iterable[Row]) -> None:
        """Tell what the study knows and the outbox does not: a driver may have been killed between the two."""
        records = self._tracker.told()
        begun = {one["key"] for one in records if one["kind"] == "run"}
        ended = {one["key"] for one in records if one["kind"] == "end"}
        # an epoch's own record, not that of the best
        told = {(one["key"], one["step"]) for one in records if "task_loss" in one.get("values", ())}
        for row in rows:
            key = f"trial/{row['id']}"
            if key not in begun:  # measured elsewhere, or the outbox was deleted
                continue
            for metrics in read_csv(self._session.folder.trial(row["id"]) / METRICS)[: row["epochs"]]:
                if (key, metrics["epoch"]) not in told:
                    self._epoch(key, metrics)
            if row["state"] != "running" and key not in ended:
                self._end(key, row)

    def trial_started(self, asked: Asked) -> None:
        self._session.begin(f"trial/{asked.number}", asked.config, "study", "search")

    def epoch_done(self, asked: Asked, metrics: dict[str, Any]) -> None:
        self._epoch(f"trial/{asked.number}", metrics)

    def trial_ended(self, asked: Asked, state: str, record: dict[str, Any]) -> None:
        self._end(f"trial/{asked.number}", record)

    def _epoch(self, key: str, metrics: Row) -> None:
        values = {name: value for name, value in metrics.items() if name in _METRICS or name.startswith(SYSTEM)}
        self._tracker.metrics(key, metrics["epoch"], values)

    def _end(self, key: str, row: Row) -> None:
        if row["validation_accuracy"] is not None:
            own = {"best_validation_accuracy": row["validation_accuracy"]}
            own |= {name: row.get(name) for name in ("standard_error", *table.extra(self._session.file))}
            self._tracker.metrics(key, row["epochs"], own)
        for file in self._session.folder.trial(row["id"]).glob(ARRANGEMENT):
            self._session.log_arrangement(key, file)
            self._tracker.artifact(key, file, "topography")
        tags = {"state": row["state"]} | ({"reason": row["reason"]} if row["reason"] else {})
        self._tracker.end(key, {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}[row["state"]], tags)


_METRICS = (
    "task_loss", "topographic_loss", "validation_accuracy", "validation_loss", "learning_rate", "seconds", "strength",
    "validation_roc_auc",
)  # fmt: skip


class _Listed(Watcher):
    """trials.csv, kept up to date while trials end, but not written anew more than once in some seconds."""

    def __init__(self, study: Study) -> None:
        self._study, self._written = study, 0.0

    def trial_ended(self, asked: Asked, state: str, record: dict[str, Any]) -> None:
        if time.monotonic() - self._written > 5:
            self._study.write_table()
            self._written = time.monotonic()
