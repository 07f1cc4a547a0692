"""How much a search may still do: trials, time, devices' time, trials without progress, and what there is to try."""

import time

from topotune.search.space import StudyFile

HOUR = 3600.0


class Budget:
    """What has been spent, and whether that is all. The study tells it what happens."""

    def __init__(self, file: StudyFile, wall: float) -> None:
        """``wall``: seconds that earlier drivers of the study took."""
        self._file, self._before, self._since = file, wall, time.monotonic()
        self.device_seconds = 0.0  # of all epochs so far
        self.idle = 0  # trials since one was better than all before

    @property
    def wall(self) -> float:
        """Seconds of the clock that drivers of this study have taken, this one included."""
        return self._before + time.monotonic() - self._since

    def ended(self, progress: bool) -> None:
        """A trial has ended; whether it was better than all before."""
        self.idle = 0 if progress else self.idle + 1

    @property
    def tired(self) -> bool:
        """Whether there was no progress for long; a trial that is still running may bring some."""
        patience = self._file.option("budget", "patience")
        return bool(patience and self.idle >= patience)

    def out_of_time(self) -> str | None:
        """Why even running trials have to pause, in words; None while there is time."""
        for spent, name, words in (
            (self.wall, "hours", "hours"),
            (self.device_seconds, "device_hours", "device-hours"),
        ):
            most = self._file.option("budget", name)
            if most and spent >= most * HOUR:
                return f"the {most:g} {words} of its budget are spent"
        return None

    def over(self, asked: int, distinct: int) -> str | None:
        """Why no new trial begins, in words; None while one may.

        Args:
            asked: trials that were handed out.
            distinct: different configurations that were measured or are running.
        """
        trials = self._file.option("budget", "trials")
        if asked >= trials:
            return f"{asked} of {trials} trials have begun"
        if self.tired:
            return f"{self.idle} trials in a row brought no progress"
        if distinct >= self._file.size():
            return f"all {distinct} configurations that there are have been tried"
        return self.out_of_time()
