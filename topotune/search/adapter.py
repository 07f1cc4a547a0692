"""Between Ray Tune and the study: Tune asks for trials and hands over results, the study decides.

Ray's own OptunaSearch tells Optuna that a stopped trial is complete and loses its state with the driver;
here the study in its storage is the one truth, and Tune's own records are never read.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from topotune.errors import InputError, StageError
from topotune.search.objectives import OBJECTIVES
from topotune.search.study import Asked, Ending, Study
from topotune.search.trial import ERROR, HALT, MEASURED, SEED
from topotune.search.watch import Watcher


@dataclass(frozen=True)
class Place:
    """Where a study's trials run: the folder of the data, a rank's share of a GPU, and how many devices (GPUs, or CPUs
    where there are none) a trial takes."""

    data: Path | None
    gpus: float
    devices: float


class Heard(NamedTuple):
    """What follows from what a trial tells: whether it should stop, and whether it got further than ever before."""

    stop: bool
    further: bool


_MEASURED = {f"{MEASURED}/{name}": name for name in OBJECTIVES}  # Tune flattens what it hands on


class StudySearcher(Searcher):
    """Hands out the study's trials, as many at a time as the cluster has room for, and tells the study how they end."""

    def __init__(self, study: Study, place: Place, slots: Callable[[], int], watchers: Sequence[Watcher]) -> None:
        super().__init__(metric="validation_accuracy", mode="max")
        self.study, self._place, self._slots, self._watchers = study, place, slots, watchers
        self._asked: dict[str, Asked] = {}  # Tune's trial id -> ours
        self._start: dict[str, float | None] = {}  # seconds from the suggestion to the first step
        self._accuracies: dict[str, list[float]] = {}  # of the seeds that are done
        self._measured: dict[str, dict[str, float]] = {}
        self._pruned: set[str] = set()
        self._paused: set[str] = set()
        self._unborn: set[str] = set()
        self._halt: InputError | StageError | None = None  # what would befall every other trial too

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Tune asks for a trial: its job, None to wait, or that there are no more."""
        if self._halt:
            return str(Searcher.FINISHED)
        if len(self._asked) >= self._slots():
            return None
        self.study.devices = self._place.devices
        asked = self.study.ask()
        if asked is None:  # of those that run, one may bring progress, or have to be handed out again
            return None if self._asked else str(Searcher.FINISHED)
        self._asked[trial_id] = asked
        for watcher in self._watchers:
            watcher.trial_started(asked)
        file = self.study.file
        return {
            "study": str(self.study.folder.path),
            "config": asked.config.to_dict(),
            "outs": [str(path) for path in self.study.folder.replicates(asked.number, file.replicates)],
            "data": str(self._place.data) if self._place.data else None,
            "measures": [name for name in file.measures if OBJECTIVES[name].cost],
            "gpus": self._place.gpus,
            "suggested_at": time.time(),
            "system_metrics": self.study.file.option("study", "system_metrics"),
        }

    def told(self, trial_id: str, result: dict[str, Any]) -> Heard:
        """A trial tells of an epoch, of a seed that is done, or of what was measured."""
        if trial_id not in self._asked:
            return Heard(stop=False, further=False)
        if "epoch" in result:
            return self._epoch_done(trial_id, result)
        if SEED in result:
            return Heard(self._seed_done(trial_id, result), further=False)
        self._measured[trial_id] = {name: result[key] for key, name in _MEASURED.items() if key in result}
        return Heard(stop=False, further=False)

    def _epoch_done(self, trial_id: str, result: dict[str, Any]) -> Heard:
        asked, first = self._asked[trial_id], result[SEED] == 0
        # of further seeds only the best accuracy is news
        news = first and self.study.report(asked.number, result["epoch"], result["validation_accuracy"])
        further = self.study.spend(asked.number, result[SEED], result)
        if news:
            self._start.setdefault(trial_id, result["start_seconds"])
            for watcher in self._watchers:
                watcher.epoch_done(asked, result)
        if result["epoch"] == asked.config.epochs and result[SEED] + 1 == self.study.file.replicates:
            return Heard(False, further)  # a trial that reached its last epoch is complete, however it compares
        if self._halt or self.study.budget.out_of_time():
            self._paused.add(trial_id)
        elif news and self.study.should_prune(asked.number):
            self._pruned.add(trial_id)
        return Heard(trial_id in self._paused | self._pruned, further)

    def _seed_done(self, trial_id: str, result: dict[str, Any]) -> bool:
        number, accuracies = self._asked[trial_id].number, self._accuracies.setdefault(trial_id, [])
        accuracies.append(result["validation_accuracy"])
        if result[SEED]:
            self.study.report(number, self.study.file.epochs + result[SEED], result["validation_accuracy"])
        if result[SEED] + 1 < self.study.file.replicates and self.study.hopeless(number, accuracies):
            self._pruned.add(trial_id)
        return trial_id in self._pruned

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tune says that a trial is over, one way or another."""
        asked = self._asked.pop(trial_id, None)
        if asked is None:
            return
        result, start = result or {}, self._start.pop(trial_id, None)
        self._accuracies.pop(trial_id, None)
        if trial_id in self._unborn:
            self.study.put_back(asked.number)
            return
        if HALT in result:
            told = result[HALT]
            self._halt = InputError(told) if result.get("input_error") else StageError(f"search: {told}")
            self._paused.add(trial_id)
        reason = result.get("failed") or (self._why(asked) if error else None)
        if trial_id in self._paused and not reason:
            self.study.pause(asked.number)
            for watcher in self._watchers:
                watcher.trial_paused(asked)
            return  # the study has it as running: it goes on when the study does
        state = "failed" if reason else "pruned" if trial_id in self._pruned else "complete"
        if result.get("input_error"):
            self._halt = InputError(reason)
        ending = Ending(reason, start, self._place.devices, self._measured.pop(trial_id, {}))
        record = self.study.end(asked.number, state, ending)
        for watcher in self._watchers:
            watcher.trial_ended(asked, state, record)

    def restarted(self, trial_id: str) -> None:
        """Tune starts a trial again whose process died; it goes on from its last checkpoint."""
        self._accuracies.pop(trial_id, None)  # it tells of them again
        if asked := self._asked.get(trial_id):
            for watcher in self._watchers:
                watcher.trial_restarted(asked, self._why(asked))

    def unborn(self, trial_id: str) -> None:
        """The process that was to run a trial had died since the trial before: Tune takes that for the trial's own
        failure, and does not start it again."""
        self._unborn.add(trial_id)

    def _why(self, asked: Asked) -> str:
        """Why a trial's process failed: the last line of what it raised."""
        path = self.study.folder.trial(asked.number) / ERROR
        lines = path.read_text(encoding="utf-8").strip().splitlines() if path.exists() else []
        return lines[-1] if lines else "its process died"

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune keeps a copy of its set-up, which nobody reads

    def raise_halt(self) -> None:
        """Raise what ended the search before its time, if anything did."""
        if self._halt:
            raise self._halt


class RestartCallback(Callback):
    """Tells of trials that start again."""

    def __init__(self, searcher: StudySearcher) -> None:
        self._searcher = searcher

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._searcher.restarted(trial.trial_id)


class StudyScheduler(FIFOScheduler):
    """Stops the trials that the study's pruner gives up, forgives deaths to those that got further since, and hands out
    again what did not get as far as a process."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        heard = self._searcher.told(trial.trial_id, result)
        if heard.further:  # whoever took its machines, the trial is sound
            trial.run_metadata.num_failures = 0
        return str(TrialScheduler.STOP if heard.stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        if trial.status == TuneTrial.PENDING:
            self._searcher.unborn(trial.trial_id)
