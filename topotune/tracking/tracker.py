"""What the rest of topotune tells MLflow through: calls that only append to the outbox, and a thread that sends."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from topotune.tracking.outbox import Outbox
from topotune.tracking.sender import Sender
from topotune.tracking.uri import shown

_GATHERED = 2.0  # seconds that metrics wait for others: a request costs as much for many of them as for one
_LONGEST = 60.0  # seconds between two looks at a store that is away
_LATER = "when the study is next worked on, or by topotune sync"


class Tracker:
    """Runs by key: ``study``, ``trial/7``, ``confirm/0123456789abcdef`` …; every call only appends to the outbox."""

    def __init__(
        self, folder: Path, uri: str, experiment: str, warn: Callable[[str], None], later: str = _LATER
    ) -> None:
        """Open the outbox in ``folder`` and start sending to the store at ``uri``.

        later: when what the store did not take will be sent, in words.
        """
        self._outbox = Outbox(folder)
        self._sender = Sender(self._outbox, uri, experiment, warn)
        self._uri, self._warn, self._later = uri, warn, later
        self._news, self._finishing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True, name="mlflow")
        self._thread.start()

    def run(self, key: str, name: str, parent: str | None, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Begin a run, or go on with it when it is there already.

        parent: its key, or ``runs:/<id>`` of a run that others told of.
        """
        self._append("run", key, name=name, parent=parent, params=dict(params), tags=dict(tags))

    def metrics(self, key: str, step: int, values: Mapping[str, float | None], at: float | None = None) -> None:
        """Metrics of one step, without those that are None; ``at`` is a Unix time, now if it is left out."""
        self._append("metrics", key, at, step=step, values={one: two for one, two in values.items() if two is not None})

    def artifact(self, key: str, path: Path, to: str = "") -> None:
        """A file, into the run's folder ``to``; it is read when it is sent."""
        self._append("artifact", key, path=str(path.resolve()), to=to)

    def best(self, key: str, name: str, path: str, tags: Mapping[str, Any]) -> None:
        """The run's files in ``path`` are the best version of the registered model ``name``."""
        self._append("model", key, name=name, path=path, tags=dict(tags))

    def end(self, key: str, status: str = "FINISHED", tags: Mapping[str, Any] | None = None) -> None:
        """End a run: FINISHED, FAILED or KILLED."""
        self._append("end", key, status=status, tags=dict(tags or {}))

    def told(self) -> list[dict[str, Any]]:
        """All records so far."""
        return self._outbox.records()

    def waiting(self) -> int:
        """How many records are not sent yet."""
        return self._sender.waiting()

    def close(self, patience: float = 60.0) -> None:
        """Send what is left; give up when the server is away, or after ``patience`` seconds: the outbox keeps it."""
        self._outbox.close()
        self._finishing.set()
        self._news.set()
        self._thread.join(patience)
        if waiting := self.waiting():
            self._warn(f"{waiting} records wait in {self._outbox.path}; they are sent {self._later}")

    def _append(self, kind: str, key: str, at: float | None = None, **content: Any) -> None:
        self._outbox.append(kind, key, at, **content)
        self._news.set()

    def _send(self) -> None:
        """The thread: sends what there is, waits for more; after a failure it waits longer each time."""
        pause, warned = 1.0, False
        while True:
            self._news.clear()  # before the look at finishing: a wake-up between the two would be lost
            last = self._finishing.is_set()
            problem = self._sender.send()
            if problem and not warned:
                warned = True
                self._warn(
                    f"MLflow at {shown(self._uri)} does not take records ({problem}); they are kept in "
                    f"{self._outbox.path} and sent later"
                )
            if last:
                return
            if problem:
                self._finishing.wait(pause)
                pause = min(2 * pause, _LONGEST)
            else:
                pause = 1.0
                self._news.wait()
                self._finishing.wait(_GATHERED)
