"""What a person sees while a stage runs: on a terminal, a table and a status line; else a log, one line an event.

A log's lines begin with the time; while nothing ends, one line a minute shows that the work goes on.
"""

import os
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

HEARTBEAT = 60.0  # seconds without a line in a log
ROWS = 10  # of the running ones, on a terminal


@dataclass
class Running:
    """One that is running: its name, its settings in short, and how far it is."""

    name: str
    label: str
    epochs: int
    epoch: int = 0
    value: float | None = None  # of the last epoch
    since: float = field(default_factory=time.monotonic)


class Progress:
    """Counts of one stage; within its context they are shown."""

    def __init__(self, stage: str, unit: str, total: int, done: int = 0, heartbeat: float = HEARTBEAT) -> None:
        self.stage, self.unit, self.total = stage, unit, total
        self.running, self.best = 0, ""
        self.counts: dict[str, int] = {}  # how the ended ones ended
        self.shown: dict[int, Running] = {}  # number -> one of those that are running, where each is told of
        self._before, self._started, self._said = done, time.monotonic(), time.monotonic()
        self._heartbeat, self._over = heartbeat, threading.Event()
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
        # rich itself would take FORCE_COLOR, which build services set, for a terminal
        self._console = Console(stderr=True, highlight=False, soft_wrap=True, force_terminal=self._terminal)
        self._live = Live(console=self._console, refresh_per_second=2, get_renderable=self._screen, transient=True)
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        if self._terminal:
            self._live.start()
        else:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            self._live.stop()
        else:
            self._over.set()
            self._thread.join()

    @property
    def done(self) -> int:
        """How many have ended, those of earlier runs of the stage included."""
        return self._before + sum(self.counts.values())

    def started(self, number: int | None = None, label: str = "", epochs: int = 0) -> None:
        """One more is running; with a number, it is told of by itself."""
        self.running += 1
        if number is not None:
            self.shown[number] = Running(f"trial {number}", label, epochs)

    def epoch(self, number: int, epoch: int, value: float) -> None:
        """One has gone through an epoch."""
        self.shown[number].epoch, self.shown[number].value = epoch, value

    def ended(self, how: str, text: str, number: int | None = None) -> None:
        """One has ended; ``text`` says what came of it. A failure stays on the screen."""
        self.running = max(self.running - 1, 0)
        self.counts[how] = self.counts.get(how, 0) + 1
        if number is not None:
            self.shown.pop(number, None)
        if not self._terminal:
            self.say(f"{text}   [{self.summary()}]")
        elif how == "failed":
            self.say(text)

    def paused(self, number: int, text: str) -> None:
        """One stopped without having ended."""
        self.running = max(self.running - 1, 0)
        self.shown.pop(number, None)
        self.say(text)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._said = time.monotonic()
        now = "" if self._terminal else f"{datetime.now().astimezone().isoformat(timespec='seconds')} "
        self._console.print(Text(f"{now}{text}"))

    def summary(self) -> str:
        """Counts, the best so far and the time left, in one line."""
        ended = ", ".join(f"{count} {how}" for how, count in sorted(self.counts.items()))
        # on a cluster that others use too, these may be waiting for room
        starting = sum(one.epoch == 0 for one in list(self.shown.values()))
        parts = [f"{self.stage}: {self.done}/{self.total} {self.unit}", ended, f"{self.running - starting} running"]
        parts += [f"{starting} starting"] if starting else []
        parts += [f"best {self.best}" if self.best else "", self._left()]
        return " · ".join(part for part in parts if part)

    def _left(self) -> str:
        ended = sum(self.counts.values())
        if ended < _FEW or self.done >= self.total:  # the first ones' time is mostly that of starting processes
            return ""
        seconds = (time.monotonic() - self._started) / ended * (self.total - self.done)
        return f"about {_duration(seconds)} left"

    def _beat(self) -> None:
        while not self._over.wait(max(self._said + self._heartbeat - time.monotonic(), 0.01)):
            if time.monotonic() >= self._said + self._heartbeat:
                epochs = (f"{one.name} epoch {_epochs(one)}" for one in list(self.shown.values())[:ROWS])
                self.say("; ".join([self.summary(), *epochs]))

    def _screen(self) -> RenderableType:
        line = Text(self.summary(), no_wrap=True, overflow="ellipsis")
        running = list(self.shown.values())
        if not running:
            return line
        table = Table(box=None, pad_edge=False, header_style="", expand=False)
        for header in ("running", "settings"):
            table.add_column(header, no_wrap=True, overflow="ellipsis")
        for header in ("epoch", "validation %", "seconds"):
            table.add_column(header, justify="right", no_wrap=True)
        for one in running[:ROWS]:
            value = "" if one.value is None else f"{100 * one.value:.2f}"
            table.add_row(one.name, one.label, _epochs(one), value, f"{time.monotonic() - one.since:.0f}")
        more = [Text(f"and {len(running) - ROWS} more")] if len(running) > ROWS else []
        return Group(table, *more, line)


_FEW = 4


def _epochs(one: Running) -> str:
    return f"{one.epoch}/{one.epochs}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
