"""Sending what waits in studies' outboxes, without a cluster and without training."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from topotune.errors import StageError
from topotune.folder import StudyBusy, StudyFolder, hold
from topotune.search.study_file import load_study
from topotune.tracking import Outbox, Sender, shown


@dataclass(frozen=True)
class Synced:
    """What came of one study: how many records were sent, how many still wait, and why.

    busy: another process is working on the study, and sends its records itself; nothing was done.
    """

    study: str
    sent: int = 0
    waiting: int = 0
    problem: str | None = None
    busy: bool = False


def sync(folders: Iterable[StudyFolder], store: str, warn: Callable[[str], None]) -> list[Synced]:
    """Send what waits in these studies' outboxes to the store.

    Once the store turned out to be away, the records of the studies that follow are only counted.
    """
    found: list[Synced] = []
    away: str | None = None
    for folder in folders:
        try:
            lock = hold(folder)
        except StudyBusy:
            found.append(Synced(folder.name, busy=True))
            continue
        try:
            found.append(_sync(folder, store, warn, away))
        finally:
            os.close(lock)
        away = found[-1].problem or away
    return found


def _sync(folder: StudyFolder, store: str, warn: Callable[[str], None], away: str | None) -> Synced:
    with closing(Outbox(folder.outbox)) as outbox:
        sender = Sender(outbox, store, load_study(folder.study_file).name, warn)
        before = sender.waiting()
        problem = (away or sender.send()) if before else None
        after = sender.waiting()
    return Synced(folder.name, before - after, after, problem)


def check_sent(found: Sequence[Synced], store: str) -> None:
    """Whether nothing waits any more.

    Raises:
        StageError: the store did not take it.
    """
    waiting = [one for one in found if one.problem]
    if waiting:
        many = ", ".join(f"{one.waiting} of {one.study}" for one in waiting)
        raise StageError(
            f"MLflow at {shown(store)} does not take records ({waiting[0].problem}); what waits is kept ({many}), and "
            "the same command sends it later"
        )


def text(found: Sequence[Synced]) -> str:
    """For a reader, a line a study."""
    return "\n".join(
        f"{one.study}: another process is working on it, and sends its records"
        if one.busy
        else f"{one.study}: {one.sent} records sent, {one.waiting} wait"
        for one in found
    )
