"""The study in its storage: the one truth about what was suggested, reported and told.

A study survives its driver: trials that a killed driver left running are handed out again, first, under their old
numbers. Nothing here knows where trials run.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from scipy import stats

from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.files import Row, read_csv, write_csv, write_text
from topotune.folder import StudyFolder, hold
from topotune.search import table, verdict
from topotune.search.budget import Budget
from topotune.search.parameters import enqueue_first, suggest
from topotune.search.retention import Retention
from topotune.search.scheduler import make_chance, make_pruner, make_sampler
from topotune.search.space import StudyFile
from topotune.search.storage import check_same, mend, open_journal
from topotune.search.study_file import to_toml
from topotune.search.warm_start import check_sources, warm_start
from topotune.training import METRICS

STUDY_HASH = "study_hash"  # the study's user attribute: the space that it began with
WALL = "wall_seconds"  # how long drivers had worked on the study when a trial ended, or when the last one paused
PATIENCE = 5  # suggestions in a row that had been measured before, until chance suggests instead of the sampler
REPEATS = 100  # the same, until there seems to be nothing new


@dataclass(frozen=True)
class Asked:
    """A suggested trial: its number in the study, its settings, and whether an earlier driver had begun it."""

    number: int
    config: TrialConfig
    resumed: bool


@dataclass(frozen=True)
class Ending:
    """What there is to say of a trial's end.

    reason: why it failed. start_seconds: from the suggestion to the first step. devices: how many it took. measured:
    the metrics of a complete trial that take work of their own, by name.
    """

    reason: str | None = None
    start_seconds: float | None = None
    devices: float = 1.0
    measured: Mapping[str, float] = field(default_factory=dict)


ENDING = Ending()


class Study:
    """An Optuna study in a study's folder, held by one driver at a time."""

    def __init__(self, file: StudyFile, folder: StudyFolder) -> None:
        """Open the study, or begin it.

        Raises:
            InputError: the folder holds a study of another space, another process is running it, or a study that it
                starts from is none.
        """
        self.file, self.folder = file, folder
        if file.name != folder.name:
            raise InputError(f"study.name = {file.name!r}: the study in {folder.path} is called {folder.name!r}")
        check_sources(file, folder)
        self._lock = hold(folder)
        try:
            self._study = self._open()
            write_text(folder.study_file, to_toml(file))
            self.notes = warm_start(self._study, file, folder)  # what a person should be told
            enqueue_first(self._study, file)
            self._storage.flush()
            self._look_back()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> optuna.Study:
        """The study in the journal; a new one where there is none."""
        file, folder = self.file, self.folder
        mend(folder.journal)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage, existing = open_journal(folder)
        self._storage = storage
        done = len(storage.get_all_trials(existing._study_id, deepcopy=False)) if existing else 0
        sampler, pruner = make_sampler(file, done), make_pruner(file)
        if existing:
            check_same(file, folder, existing.user_attrs.get(STUDY_HASH))
        else:
            optuna.create_study(study_name=file.name, storage=storage, directions=table.directions(file))
        # by the name it began with: a folder may have been renamed since
        name = existing.study_name if existing else file.name
        study = optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
        if study.user_attrs.get(STUDY_HASH) != file.hash:
            study.set_user_attr(STUDY_HASH, file.hash)
        return study

    def _look_back(self) -> None:
        """What an earlier driver has left: trials to go on with, configurations that are known, what was spent."""
        trials = self._study.get_trials(deepcopy=False)
        self._running: dict[int, optuna.Trial] = {}
        self._reported: dict[int, set[int]] = {}  # number -> steps
        self._left = [one for one in trials if one.state == TrialState.RUNNING]
        self._first: dict[str, int] = {}  # config hash -> the number of its first trial
        self._waiting: dict[int, list[optuna.Trial]] = {}  # number -> trials of the same settings, which wait for it
        begun = [one for one in trials if one.state in table.STATES and table.HASH in one.user_attrs]
        for one in filter(verdict.counts, begun):
            self._first.setdefault(one.user_attrs[table.HASH], one.number)
        own = [one for one in begun if not {table.SAME, table.SOURCE} & set(one.user_attrs)]
        self.asked = len(own)  # how many trials were handed out so far, ended or not
        self.devices = 1.0  # that a trial takes; whoever runs them says so
        self._spent: set[tuple[int, int, int]] = set()  # number, seed, epoch: what the budget knows of
        kept = [one for one in own if table.KEPT in one.user_attrs and one.state != TrialState.FAIL]
        self._kept = {one.user_attrs[table.CONFIG]["topography"] for one in kept}
        self.gave_up = False  # whether the sampler had nothing new
        walls = [one.user_attrs.get(table.RECORD, {}).get(WALL, 0.0) for one in own]
        self.budget = Budget(self.file, max([*walls, self._study.user_attrs.get(WALL, 0.0)]))
        for one in own:
            for seed, rows in enumerate(self._metrics(one.number) if one.state == TrialState.RUNNING else ()):
                for row in rows:
                    self.spend(one.number, seed, row, one.user_attrs.get(table.DEVICES, 1.0))
            if one.state != TrialState.RUNNING:  # of which the epochs were counted
                self.budget.device_seconds += one.user_attrs.get(table.RECORD, {}).get("device_seconds", 0.0)
        self._chance = make_chance(self.file.option("study", "seed") + len(trials))
        self._retention = Retention(self.file, self.folder)
        self._best: list[dict[str, float]] = []  # the Pareto front so far; with one objective the best value
        ended = [one for one in trials if one.state.is_finished() and table.SAME not in one.user_attrs]
        for one in sorted(ended, key=lambda one: one.datetime_complete or datetime.min):
            self._note_end(one)

    def _metrics(self, number: int) -> list[list[Row]]:
        """The epochs of each of a trial's seeds."""
        return [read_csv(path / METRICS) for path in self.folder.replicates(number, self.file.replicates)]

    def spend(self, number: int, seed: int, epoch: Mapping[str, Any], devices: float | None = None) -> bool:
        """Count an epoch of a trial towards the budget; whether it had not been counted."""
        mark = (number, seed, int(epoch["epoch"]))
        if mark in self._spent:
            return False
        self._spent.add(mark)
        self.budget.device_seconds += epoch["seconds"] * (self.devices if devices is None else devices)
        return True

    def close(self) -> None:
        """Let go of the study, so that another driver can have it."""
        os.close(self._lock)

    @property
    def over(self) -> str | None:
        """Why no trial is handed out any more, in words; None while there is one."""
        if self._left:
            return self.budget.out_of_time()
        return self.budget.over(self.asked, len(self._first))

    def ask(self) -> Asked | None:
        """The next trial, or None when the budget is spent; first those that an earlier driver left running."""
        own = self._study.sampler
        if self.gave_up and not self._left:
            return None
        try:
            for attempt in range(REPEATS):
                if self.over:
                    return None
                if attempt == PATIENCE:
                    self._study.sampler = self._chance
                if asked := self._next():
                    return asked
            self.gave_up = True
            return None
        finally:
            self._study.sampler = own
            self._storage.flush()

    def _next(self) -> Asked | None:
        """One suggestion; None where it had been measured before."""
        resumed = bool(self._left)
        if resumed:
            frozen = self._left.pop(0)
            trial = optuna.Trial(self._study, frozen._trial_id)
            self._reported[trial.number] = set(frozen.intermediate_values)
        else:
            trial = self._study.ask()
        try:
            config = self.file.suggest(lambda name, dimension: suggest(trial, name, dimension))
        except InputError as error:  # settings that do not go together, which no check foresaw
            trial.set_user_attr(table.RECORD, {"reason": str(error)})
            self._study.tell(trial, state=TrialState.FAIL)
            return None
        if not self._is_new(trial, config):
            return None
        self._running[trial.number] = trial
        return Asked(trial.number, config, resumed)

    def _is_new(self, trial: optuna.Trial, config: TrialConfig) -> bool:
        """Note a suggestion. One that was measured before gets what came of it, now or when that has ended."""
        first = self._first.setdefault(config.hash, trial.number)
        counted = table.HASH in trial.user_attrs  # by an earlier driver
        if not counted:
            trial.set_user_attr(table.CONFIG, config.to_dict())
            trial.set_user_attr(table.DEVICES, self.devices)
            trial.set_user_attr(table.HASH, config.hash)
        if first == trial.number:
            if config.topography not in self._kept:
                self._kept.add(config.topography)
                trial.set_user_attr(table.KEPT, True)
            self.asked += not counted
            return True
        trial.set_user_attr(table.SAME, first)
        same = self._study.get_trials(deepcopy=False)[first]
        if same.state == TrialState.RUNNING:
            self._waiting.setdefault(first, []).append(trial)
        else:
            self._tell_same(trial, same)
        return False

    def _tell_same(self, trial: optuna.Trial, same: FrozenTrial) -> None:
        for step, value in same.intermediate_values.items():
            self._note(trial, step, value)
        record = same.user_attrs.get(table.RECORD, {}) | {"reason": None, "seconds": 0.0, "epochs": 0}
        trial.set_user_attr(table.RECORD, record)
        for words, excess in same.constraints.items():
            trial.set_constraint(words, excess)
        self._study.tell(trial, same.values if same.state == TrialState.COMPLETE else None, same.state)

    def report(self, number: int, step: int, value: float) -> bool:
        """Note a trial's value after an epoch, or after a further seed; whether this is news. What is known already is
        left as it is."""
        known = self._reported.setdefault(number, set())
        if step in known:
            return False
        known.add(step)
        self._note(self._running[number], step, value)
        self._storage.flush()
        return True

    def _note(self, trial: optuna.Trial, step: int, value: float) -> None:
        if len(self.file.objectives) == 1:
            trial.report(value, step)
        else:  # which Trial.report refuses
            self._storage.set_trial_intermediate_value(trial._trial_id, step, value)

    def should_prune(self, number: int) -> bool:
        """Whether the trial should stop, judged at its last reported epoch.

        The first trial of each topography runs to its end: each has at least one complete trial to be judged by.
        """
        if len(self.file.objectives) > 1:
            return False
        trial = self._running[number]
        # asked in any case: the pruner notes the value that later trials are measured against
        late = max(self._reported[number]) >= self.file.option("budget", "min_epochs")
        return trial.should_prune() and late and table.KEPT not in trial.user_attrs

    def hopeless(self, number: int, accuracies: list[float]) -> bool:
        """Whether a trial of several seeds should stop after some of them."""
        trials = self._study.get_trials(deepcopy=False)
        if table.KEPT in trials[number].user_attrs or self.file.option("study", "pruner") == "none":
            return False
        return verdict.hopeless(trials, accuracies)

    def pause(self, number: int) -> None:
        """Leave a trial as it is: it goes on when the study has more time."""
        self._running.pop(number)
        self._study.set_user_attr(WALL, self.budget.wall)
        self._storage.flush()

    def put_back(self, number: int) -> None:
        """Hand a trial out again, before any other."""
        self._running.pop(number)
        self._left.insert(0, self._study.get_trials(deepcopy=False)[number])

    def end(self, number: int, state: str, how: Ending = ENDING) -> Row:
        """End a trial as ``complete``, ``pruned`` or ``failed``; its row of trials.csv."""
        trial = self._running.pop(number)
        self._reported.pop(number, None)
        seeds = self._metrics(number)
        seconds = sum(epoch["seconds"] for seed in seeds for epoch in seed)
        accuracies = [max(epoch["validation_accuracy"] for epoch in seed) for seed in seeds if seed]
        told: dict[str, Any] = {"reason": how.reason, "start_seconds": how.start_seconds, "seconds": seconds}
        told |= {"device_seconds": seconds * how.devices, WALL: self.budget.wall, "epochs": sum(map(len, seeds))}
        if len(accuracies) > 1:
            told |= {"replicates": accuracies, "standard_error": float(stats.sem(accuracies))}
        if state == "complete":
            means = {"validation_accuracy": sum(accuracies) / len(accuracies), "seconds": seconds / len(accuracies)}
            told["values"] = means | dict(how.measured)
        trial.set_user_attr(table.RECORD, told)
        self._tell(trial, state, told.get("values", {}))
        same = self._study.get_trials(deepcopy=False)[number]
        for other in self._waiting.pop(number, []):
            self._tell_same(other, same)
        if same.state == TrialState.FAIL and table.KEPT in same.user_attrs:
            self._kept.discard(same.user_attrs[table.CONFIG]["topography"])  # the next one takes its place
        if not verdict.counts(same):
            self._first.pop(same.user_attrs[table.HASH], None)  # it may be tried again
        self._note_end(same)
        self._storage.flush()
        return table.row(same, self.file)

    def _tell(self, trial: optuna.Trial, state: str, values: Mapping[str, float]) -> None:
        trials = self._study.get_trials(deepcopy=False) if self.file.constraints else []
        control = table.control_values(trials, self.file)
        for one in self.file.constraints:
            # until there is a control to compare with, a trial counts as one that keeps to it
            trial.set_constraint(one.words, one.excess(values, control) or 0.0)
        if state == "complete":
            self._study.tell(trial, [values[name] for name in self.file.objectives])
        else:
            self._study.tell(trial, state=TrialState.PRUNED if state == "pruned" else TrialState.FAIL)

    def _note_end(self, trial: FrozenTrial) -> None:
        """Whether there was progress, and whose weights are kept."""
        values = table.values_of(trial)
        own = {name: values[name] for name in self.file.objectives if name in values}
        progress = False
        if own and verdict.keeps(trial) and own not in self._best:  # as good as the best is no progress
            front = table.is_front([*self._best, own], self.file)
            progress = front[-1]
            self._best = [one for one, kept in zip([*self._best, own], front, strict=True) if kept]
        if trial.state != TrialState.FAIL and table.SOURCE not in trial.user_attrs:
            self.budget.ended(progress)
        trials = self._study.get_trials(deepcopy=False) if self.file.constraints else []
        self._retention.ended(trial, table.control_values(trials, self.file))

    def rows(self) -> list[Row]:
        """One row a trial, in the order of their numbers."""
        return table.rows(self._study.get_trials(deepcopy=False), self.file)

    def write_table(self) -> list[Row]:
        """Write trials.csv; its rows."""
        rows = self.rows()
        write_csv(self.folder.trials_table, table.columns(self.file), rows)
        return rows
