"""What a person sees while a stage runs: a calm status line on a terminal, one line an event elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text


class Progress:
    """Counts of one stage; within its context they are shown."""

    def __init__(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        self.stage, self.unit, self.total = stage, unit, total
        self.running, self.best = 0, ""
        self.counts: dict[str, int] = {}  # how the ended ones ended
        self._before, self._started = done, time.monotonic()
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, refresh_per_second=2, get_renderable=self._line, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    @property
    def done(self) -> int:
        """How many have ended, those of earlier runs of the stage included."""
        return self._before + sum(self.counts.values())

    def started(self) -> None:
        """One more is running."""
        self.running += 1

    def ended(self, how: str, text: str) -> None:
        """One has ended; ``text`` says what came of it. A failure stays on the screen."""
        self.running = max(self.running - 1, 0)
        self.counts[how] = self.counts.get(how, 0) + 1
        if not self._console.is_terminal:
            self._console.print(Text(f"{text}   [{self.summary()}]"))
        elif how == "failed":
            self.say(text)

    def paused(self, text: str) -> None:
        """One stopped without having ended."""
        self.running = max(self.running - 1, 0)
        self.say(text)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(Text(text))

    def summary(self) -> str:
        """Counts, the best so far and the time left, in one line."""
        ended = ", ".join(f"{count} {how}" for how, count in sorted(self.counts.items()))
        parts = [f"{self.stage}: {self.done}/{self.total} {self.unit}", ended, f"{self.running} running"]
        parts += [f"best {self.best}" if self.best else "", self._left()]
        return " · ".join(part for part in parts if part)

    def _left(self) -> str:
        ended = sum(self.counts.values())
        if ended < _FEW or self.done >= self.total:  # the first ones' time is mostly that of starting processes
            return ""
        seconds = (time.monotonic() - self._started) / ended * (self.total - self.done)
        return f"about {_duration(seconds)} left"

    def _line(self) -> Text:
        return Text(self.summary(), no_wrap=True, overflow="ellipsis")


_FEW = 4


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
