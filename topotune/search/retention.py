"""Whose weights are kept: those of the best trials of a study, and of the best of each topography."""

import shutil
from collections.abc import Mapping

from optuna.trial import FrozenTrial, TrialState

from topotune.folder import StudyFolder
from topotune.search import table
from topotune.search.space import StudyFile
from topotune.training import WEIGHTS


class Retention:
    """What of the ended trials stays on the disk. ``budget.keep`` and the number of topographies bound it."""

    def __init__(self, file: StudyFile, folder: StudyFolder) -> None:
        self._file, self._folder = file, folder
        self._kept: dict[int, FrozenTrial] = {}

    def ended(self, trial: FrozenTrial, control: Mapping[str, float] | None) -> None:
        """Tidy up after a trial that has ended, and after those that are among the best no more; ``control``: the
        metrics that constraints compare with."""
        folders = self._folder.replicates(trial.number, self._file.replicates)
        for path in folders:
            shutil.rmtree(path / "last", ignore_errors=True)  # the state to go on from
        if trial.state != TrialState.COMPLETE:
            self._forget(trial.number)
            return
        self._kept[trial.number] = trial
        for number in self._kept.keys() - self._best(control):
            self._forget(number)
            del self._kept[number]

    def _best(self, control: Mapping[str, float] | None) -> set[int]:
        """The best so many, the best of each topography, and with several objectives their front."""
        first = self._file.objectives[0]
        values = {number: table.values_of(one) for number, one in self._kept.items()}

        def rank(number: int) -> tuple[bool, float, int]:
            excess = [one.excess(values[number], control) for one in self._file.constraints]
            broken = any(one is not None and one > 0 for one in excess)
            return broken, -table.worth(first, values[number][first]), number

        order = sorted(self._kept, key=rank)
        of_each: dict[str, int] = {}
        for number in order:
            of_each.setdefault(self._kept[number].user_attrs[table.CONFIG]["topography"], number)
        several = len(self._file.objectives) > 1
        fronts = table.is_front([values[number] for number in order], self._file) if several else []
        front = {number for number, on_it in zip(order, fronts, strict=False) if on_it}
        return {*order[: self._file.option("budget", "keep")], *of_each.values(), *front}

    def _forget(self, number: int) -> None:
        for path in self._folder.replicates(number, self._file.replicates):
            (path / WEIGHTS).unlink(missing_ok=True)
