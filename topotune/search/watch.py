"""What the driver tells those who look on (progress, tracking) while a search runs."""

from typing import Any

from topotune.search.study import Asked


class Watcher:
    """Called in the driver; must return at once. A subclass overrides what it wants to know."""

    def trial_started(self, asked: Asked) -> None:
        """A trial was handed to the cluster."""

    def epoch_done(self, asked: Asked, metrics: dict[str, Any]) -> None:
        """A trial reported an epoch that is news."""

    def trial_restarted(self, asked: Asked, why: str) -> None:
        """A trial's process died, and the trial goes on from its last checkpoint in another one."""

    def trial_paused(self, asked: Asked) -> None:
        """A trial stopped because the study's time is spent, or a disk is full; it goes on from its last epoch."""

    def trial_ended(self, asked: Asked, state: str, record: dict[str, Any]) -> None:
        """A trial is ``complete``, ``pruned`` or ``failed``; ``record`` is its row of trials.csv."""
