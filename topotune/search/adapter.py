"""Between Ray Tune and the study: Tune asks for trials and hands over results, the study decides.

Ray's own OptunaSearch tells Optuna that a stopped trial is complete and loses its state with the driver;
here the study in its storage is the one truth, and Tune's own records are never read.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from topotune.errors import InputError
from topotune.search.study import Asked, Study
from topotune.search.trial import ERROR
from topotune.search.watch import Watcher


class StudySearcher(Searcher):
    """Hands out the study's trials, as many at a time as the cluster has room for, and tells the study how they end."""

    def __init__(self, study: Study, data: Path | None, slots: Callable[[], int], watchers: Sequence[Watcher]) -> None:
        super().__init__(metric="validation_accuracy", mode="max")
        self.study, self._data, self._slots, self._watchers = study, data, slots, watchers
        self._asked: dict[str, Asked] = {}  # Tune's trial id -> ours
        self._last: dict[str, dict[str, Any]] = {}
        self._pruned: set[str] = set()
        self.input_error: str | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Tune asks for a trial: its job, None to wait, or that there are no more."""
        if self.input_error:
            return str(Searcher.FINISHED)
        if len(self._asked) >= self._slots():
            return None
        asked = self.study.ask()
        if asked is None:
            return str(Searcher.FINISHED)
        self._asked[trial_id] = asked
        for watcher in self._watchers:
            watcher.trial_started(asked)
        return {
            "config": asked.config.to_dict(),
            "out": str(self.study.folder.trial(asked.number)),
            "data": str(self._data) if self._data else None,
            "suggested_at": time.time(),
            "system_metrics": self.study.file.option("study", "system_metrics"),
        }

    def epoch_done(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Note an epoch; whether the trial should stop."""
        if "epoch" not in result or trial_id not in self._asked:
            return False
        asked = self._asked[trial_id]
        self._last[trial_id] = result
        if self.study.report(asked.number, result["epoch"], result["validation_accuracy"]):
            for watcher in self._watchers:
                watcher.epoch_done(asked, result)
        # a trial that reached its last epoch is complete, however it compares
        stop = result["epoch"] < asked.config.epochs and self.study.should_prune(asked.number)
        if stop:
            self._pruned.add(trial_id)
        return stop

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tune says that a trial is over, one way or another."""
        asked = self._asked.pop(trial_id, None)
        if asked is None:
            return
        last, result = self._last.pop(trial_id, {}), result or {}
        reason = result.get("failed") or (self._why(asked) if error else None)
        state = "failed" if reason else "pruned" if trial_id in self._pruned else "complete"
        if result.get("input_error"):
            self.input_error = reason
        record = self.study.end(asked.number, state, reason, last.get("start_seconds"))
        for watcher in self._watchers:
            watcher.trial_ended(asked, state, record)

    def restarted(self, trial_id: str) -> None:
        """Tune starts a trial again whose process died; it goes on from its last checkpoint."""
        if asked := self._asked.get(trial_id):
            for watcher in self._watchers:
                watcher.trial_restarted(asked, self._why(asked))

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

    def raise_input_error(self) -> None:
        """Raise what was wrong with the input of a trial, if anything was: it would be wrong for every other too."""
        if self.input_error:
            raise InputError(self.input_error)


class RestartCallback(Callback):
    """Tells of trials that start again."""

    def __init__(self, searcher: StudySearcher) -> None:
        self._searcher = searcher

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._searcher.restarted(trial.trial_id)


class StudyScheduler(FIFOScheduler):
    """Stops the trials that the study's pruner gives up."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        stop = self._searcher.epoch_done(trial.trial_id, result)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)
