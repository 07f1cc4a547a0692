"""Whose weights are kept: those of the best trials of a study, and of the best of each topography."""

import shutil
from pathlib import Path

from optuna.trial import FrozenTrial

from topotune.folder import StudyFolder
from topotune.search import table
from topotune.search.space import StudyFile
from topotune.training import WEIGHTS


class Retention:
    """What of the ended trials stays on the disk. ``budget.keep`` and the number of topographies bound it."""

    def __init__(self, file: StudyFile, folder: StudyFolder) -> None:
        self._file, self._folder = file, folder
        self._kept: list[tuple[bool, float, int, str]] = []  # keeps the constraints, worth, −number, topography

    def ended(self, trial: FrozenTrial) -> None:
        """Tidy up after a trial that has ended, and after those that are among the best no more."""
        values = table.values_of(trial)
        folders = self._folder.replicates(trial.number, self._file.replicates)
        for path in folders:
            shutil.rmtree(path / "last", ignore_errors=True)  # the state to go on from
        if not values:
            for path in folders:
                _forget(path)
            return
        first = self._file.objectives[0]
        feasible = not any(excess > 0 for excess in trial.constraints.values())
        topography = trial.user_attrs[table.CONFIG]["topography"]
        place = (feasible, table.worth(first, values[first]), -trial.number, topography)
        self._kept = sorted([*self._kept, place], reverse=True)
        seen: set[str] = set()
        still = []
        for rank, one in enumerate(self._kept):
            if rank < self._file.option("budget", "keep") or one[3] not in seen:
                still.append(one)
            else:
                for path in self._folder.replicates(-one[2], self._file.replicates):
                    _forget(path)
            seen.add(one[3])
        self._kept = still


def _forget(trial: Path) -> None:
    (trial / WEIGHTS).unlink(missing_ok=True)
