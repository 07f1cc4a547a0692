"""From an outbox to a store, in order; how far it has come is noted beside the outbox."""

import hashlib
from collections.abc import Callable

from topotune.files import read_table, write_json
from topotune.tracking.experiment import Experiment, Refused
from topotune.tracking.outbox import DAMAGED, Outbox, Record
from topotune.tracking.uri import reason, shown


class Sender:
    """Empties one outbox into one store; a record that the store refuses for ever is told of and left out."""

    def __init__(self, outbox: Outbox, uri: str, experiment: str, warn: Callable[[str], None]) -> None:
        self._outbox, self._uri, self._name, self._warn = outbox, uri, experiment, warn
        # one state a store: pointed at another one, everything is sent there from the start
        self._state_file = outbox.folder / f"sent-{hashlib.sha256(shown(uri).encode()).hexdigest()[:8]}.json"
        state = read_table(self._state_file) if self._state_file.exists() else {}
        self._offset: int = state.get("offset", 0)
        self._runs: dict[str, str] = state.get("runs", {})
        if self._offset > outbox.size:  # the outbox was deleted and begun anew
            self._offset = 0
        # up to here the store may hold more than was noted: an earlier sender was killed, or an answer got lost
        self._doubtful = outbox.size
        self._experiment: Experiment | None = None

    def waiting(self) -> int:
        """How many records are not sent yet."""
        return self._outbox.waiting(self._offset)

    def send(self) -> str | None:
        """Send all there is; None, or in a line why the store does not take it. What was sent before that is noted."""
        try:
            for records, end in self._outbox.batches(self._offset):
                self._deliver(records)
                self._offset = end
                write_json(self._state_file, {"offset": self._offset, "runs": self._runs})
        except Exception as error:  # noqa: BLE001 (of a server or a database that is away; there is no common kind)
            self._experiment = None
            self._doubtful = max(self._doubtful, self._offset + 1)
            return reason(error, self._uri)
        return None

    def _deliver(self, records: list[Record]) -> None:
        first = records[0]
        if first["kind"] == DAMAGED:
            self._warn(f"a damaged line of {self._outbox.path} is left out: {first['line'][:60]!r}")
            return
        if self._experiment is None:
            self._experiment = Experiment(self._uri, self._name, self._outbox.uid, self._runs)
        try:
            self._experiment.write(records, doubtful=self._offset < self._doubtful)
        except Refused as refused:
            if len(records) == 1:
                self._warn(f"a record of {first['key']} cannot be sent to MLflow ({refused}); it is left out")
                return
            for record in records:  # one is wrong, the others are not
                self._deliver([record])
