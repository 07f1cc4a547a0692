"""The study in its storage: the one truth about what was suggested, reported and told. The owner of Optuna.

A study survives its driver: trials that a killed driver left running are handed out again, first, under their old
numbers. Nothing here knows where trials run.
"""

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.files import Row, read_csv, write_csv, write_text
from topotune.folder import StudyFolder
from topotune.search.scheduler import make_pruner, make_sampler
from topotune.search.space import Choices, Dimension, StudyFile
from topotune.search.study_file import load_study, to_toml
from topotune.training import METRICS

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
FIRST = "first"  # the user attribute that the first trial of each topography has
HASH = "study_hash"  # the study's user attribute: the space that it began with
RECORD = "record"  # the user attribute that holds what Optuna itself has no place for


@dataclass(frozen=True)
class Asked:
    """A suggested trial: its number in the study, its settings, and whether an earlier driver had begun it."""

    number: int
    config: TrialConfig
    resumed: bool


class Study:
    """An Optuna study in a study's folder, held by one driver at a time."""

    def __init__(self, file: StudyFile, folder: StudyFolder) -> None:
        """Open the study, or begin it.

        Raises:
            InputError: the folder holds a study of another space, or another process is running it.
        """
        self.file, self.folder = file, folder
        if file.name != folder.name:
            raise InputError(f"study.name = {file.name!r}: the study in {folder.path} is called {folder.name!r}")
        self._lock = _hold(folder)
        try:
            self._study = self._open()
        except BaseException:
            self.close()
            raise
        write_text(folder.study_file, to_toml(file))
        self._enqueue_first_trials()
        self._running: dict[int, optuna.Trial] = {}
        self._reported: dict[int, set[int]] = {}  # number -> epochs
        self._left = self._trials(TrialState.RUNNING)

    def _open(self) -> optuna.Study:
        """The study in the journal; a new one where there is none."""
        file, folder = self.file, self.folder
        _mend(folder.journal)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage, existing = _open_journal(folder)
        done = len(storage.get_all_trials(existing._study_id, deepcopy=False)) if existing else 0
        # another seed after a restart: the same one would suggest the first trials again
        sampler, pruner = make_sampler(file, file.option("study", "seed") + done), make_pruner(file)
        if existing:
            _check_same(file, folder, existing.user_attrs.get(HASH))
        else:
            optuna.create_study(study_name=file.name, storage=storage, direction="maximize")
        # by the name it began with: a folder may have been renamed since
        name = existing.study_name if existing else file.name
        study = optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
        if study.user_attrs.get(HASH) != file.hash:
            study.set_user_attr(HASH, file.hash)
        return study

    def close(self) -> None:
        """Let go of the study, so that another driver can have it."""
        os.close(self._lock)

    def ask(self) -> Asked | None:
        """The next trial, or None when the budget is spent; first those that an earlier driver left running."""
        if self._left:
            frozen = self._left.pop(0)
            trial, resumed = optuna.Trial(self._study, frozen._trial_id), True
            self._reported[trial.number] = set(frozen.intermediate_values)
        elif self.asked < self.file.option("budget", "trials"):
            trial, resumed = self._study.ask(), False
        else:
            return None
        config = self.file.suggest(lambda name, dimension: _suggest(trial, name, dimension))
        trial.set_user_attr("config", config.to_dict())
        self._running[trial.number] = trial
        return Asked(trial.number, config, resumed)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Note a trial's value after an epoch; whether this is news. What is known already is left as it is."""
        known = self._reported.setdefault(number, set())
        if epoch in known:
            return False
        known.add(epoch)
        self._running[number].report(value, epoch)
        return True

    def should_prune(self, number: int) -> bool:
        """Whether the trial should stop, judged at its last reported epoch.

        The first trial of each topography runs to its end: each has at least one complete trial to be judged by.
        """
        trial = self._running[number]
        # asked in any case: the pruner notes the value that later trials are measured against
        return trial.should_prune() and not trial.user_attrs.get(FIRST)

    def end(self, number: int, state: str, reason: str | None = None, start_seconds: float | None = None) -> Row:
        """End a trial as ``complete``, ``pruned`` or ``failed``; its row of trials.csv.

        ``reason`` says why it failed, ``start_seconds`` how long it took from the suggestion to the first step.
        """
        trial = self._running.pop(number)
        self._reported.pop(number, None)
        metrics = read_csv(self.folder.trial(number) / METRICS)
        seconds = sum(epoch["seconds"] for epoch in metrics)
        trial.set_user_attr(RECORD, {"seconds": seconds, "start_seconds": start_seconds, "reason": reason})
        best = max((epoch["validation_accuracy"] for epoch in metrics), default=None)
        if state == "complete":
            self._study.tell(trial, best)
        else:
            self._study.tell(trial, state=TrialState.PRUNED if state == "pruned" else TrialState.FAIL)
        _tidy(self.folder.trial(number), complete=state == "complete")
        return self._row(number)

    @property
    def asked(self) -> int:
        """How many trials were handed out so far, ended or not."""
        return len(self._trials(*_STATES))

    def rows(self) -> list[Row]:
        """One row a trial, in the order of their numbers."""
        return [_row(trial, self.file) for trial in self._trials(*_STATES)]

    def _row(self, number: int) -> Row:
        return _row(self._study.get_trials(deepcopy=False)[number], self.file)

    def write_table(self) -> list[Row]:
        """Write trials.csv; its rows."""
        rows = self.rows()
        names = [name for name in self.file.dimensions if name not in ("topography", "weight")]
        write_csv(self.folder.trials_table, [*_FIRST, *names, *_LAST], rows)
        return rows

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states)

    def _enqueue_first_trials(self) -> None:
        """Every topography, the control too, is tried at least once, with otherwise suggested settings."""
        if "topography" not in self.file.dimensions:
            return
        there = {trial.user_attrs.get(FIRST) for trial in self._study.get_trials(deepcopy=False)}
        for topography in self.file.topographies:
            if topography not in there:  # a driver may have been killed between two of them
                self._study.enqueue_trial({"topography": topography}, user_attrs={FIRST: topography})


_FIRST = ("id", "state", "config_hash", "topography", "weight")
_LAST = ("validation_accuracy", "epochs", "seconds", "start_seconds", "reason")


def _row(trial: FrozenTrial, file: StudyFile) -> Row:
    config = trial.user_attrs.get("config", {})
    values = trial.intermediate_values
    record = trial.user_attrs.get(RECORD, {})
    return {
        "id": trial.number,
        "state": _STATES[trial.state],
        "config_hash": TrialConfig.from_dict(config).hash if config else None,
        "topography": config.get("topography"),
        "weight": config.get("weight"),
        **{name: trial.params.get(name) for name in file.dimensions if name not in ("topography", "weight")},
        "validation_accuracy": max(values.values(), default=None),
        "epochs": max(values, default=0),
        "seconds": record.get("seconds"),
        "start_seconds": record.get("start_seconds"),
        "reason": record.get("reason"),
    }


def _tidy(trial: Path, complete: bool) -> None:
    """What an ended trial needs no more: the state to go on from, and the weights unless it is complete."""
    shutil.rmtree(trial / "last", ignore_errors=True)
    if not complete:
        (trial / "model.safetensors").unlink(missing_ok=True)


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Choices):
        return trial.suggest_categorical(name, dimension.values)
    if dimension.whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def _open_journal(folder: StudyFolder) -> tuple[JournalStorage, FrozenStudy | None]:
    """The storage, and the study in it if it has one."""
    lost = not folder.journal.exists() or folder.journal.stat().st_size == 0
    if lost and folder.trials_table.exists():
        raise InputError(
            f"{folder.journal} is missing or empty, though {folder.trials_table} lists trials: put it back from a "
            "copy, or begin anew beside it with --fresh"
        )
    try:
        storage = JournalStorage(JournalFileBackend(str(folder.journal), lock_obj=_Held()))
        studies = storage.get_all_studies()
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{folder.journal} is damaged ({error}): put it back from a copy, or use --fresh") from None
    return storage, studies[0] if studies else None


def _check_same(file: StudyFile, folder: StudyFolder, began_with: str | None) -> None:
    """A study goes on only with the space that it began with. More effort is the same study."""
    if began_with in (None, file.hash):  # None: a driver was killed as the study began
        return
    there = load_study(folder.study_file) if folder.study_file.exists() else None
    if there is None or there.hash == file.hash:
        raise InputError(f"{folder.study_file} was changed by hand since the study began; put it back as it was")
    changed = [
        f"{section}.{key}"
        for section in file.sections
        for key in {**there.sections[section], **file.sections[section]}
        if section not in ("budget", "confirm", "prune", "robustness") and key not in ("name", "description")
        if there.sections[section].get(key) != file.sections[section].get(key)
    ]
    raise InputError(
        f"study {file.name!r} exists in {folder.path} with another space: {', '.join(changed)} differ; "
        "give it another name (--set study.name=…), or begin anew beside it with --fresh"
    )


def _hold(folder: StudyFolder) -> int:
    """A lock that goes with this process, however it ends."""
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise InputError(
            f"study {folder.name!r} is being worked on by another process; wait for it, or begin anew beside it "
            "with --fresh"
        ) from None
    return lock


class _Held(BaseJournalFileLock):
    """No lock file beside the journal: the study's own lock is held, and Ctrl-C cannot leave this one half undone."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _mend(journal: Path) -> None:
    """Undo what a killed driver may have left: Optuna's own lock, and half a line at the end of the journal."""
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.exists():
        content = journal.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(journal, content.rfind(b"\n") + 1)
