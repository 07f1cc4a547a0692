"""The outbox: a file that only grows, one JSON record a line, in the order in which things happened."""

import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from topotune.files import write_text

Record = dict[str, Any]

# what a record of each kind holds beside the key of its run; times are Unix times in milliseconds
FIELDS = {
    "run": {"time", "name", "parent", "params", "tags"},
    "metrics": {"time", "step", "values"},
    "artifact": {"path", "to"},
    "model": {"name", "path", "tags"},
    "end": {"time", "status", "tags"},
}
DAMAGED = "damaged"  # the kind of a line that is no record
_BATCH = 900  # metrics a request; MLflow takes 1,000


class Outbox:
    """The records of one study; one process writes them, and sends them on."""

    def __init__(self, folder: Path) -> None:
        """Open the outbox in ``folder``, or begin it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.path = folder, folder / "outbox.jsonl"
        self._file = self.path.open("ab", buffering=0)  # no buffer: what was told stands there
        _trim(self.path)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    @property
    def uid(self) -> str:
        """Of the study's folder: another study may have the same name on a server."""
        path = self.folder / "uid"
        if not path.exists():
            write_text(path, uuid.uuid4().hex)
        return path.read_text(encoding="utf-8")

    def append(self, kind: str, key: str, at: float | None = None, **content: Any) -> None:
        """Add a record of the run ``key``; ``at`` is a Unix time in seconds, now if it is left out."""
        record = {"kind": kind, "key": key, "time": int((at or time.time()) * 1000), **content}
        self._file.write((json.dumps(record) + "\n").encode())

    def close(self) -> None:
        """No record is added any more."""
        self._file.close()

    def records(self) -> list[Record]:
        """All of them, also those that were sent."""
        return [record for record, _behind in self._records(0)]

    def waiting(self, offset: int) -> int:
        """How many records begin at ``offset`` or behind it."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return sum(1 for _line in file)

    def batches(self, offset: int) -> Iterator[tuple[list[Record], int]]:
        """What is written behind ``offset``, as it can be sent, and the offset behind each.

        Consecutive metrics come together, whosever they are; every other record comes alone.
        """
        pending: list[Record] = []
        end = offset
        for record, behind in self._records(offset):
            alone = record["kind"] != "metrics"
            if pending and (alone or _points(pending) >= _BATCH):
                yield pending, end
                pending = []
            end = behind
            pending.append(record)
            if alone:
                yield pending, end
                pending = []
        if pending:
            yield pending, end

    def _records(self, offset: int) -> Iterator[tuple[Record, int]]:
        with self.path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # still being written
                offset += len(line)
                yield _record(line), offset


def _record(line: bytes) -> Record:
    """A record, or one of the kind DAMAGED where the line is none."""
    try:
        record = json.loads(line)
        if {"key", *FIELDS[record["kind"]]} <= set(record):
            return dict(record)
    except (ValueError, KeyError, TypeError):
        pass
    return {"kind": DAMAGED, "key": "", "line": line}


def _points(records: list[Record]) -> int:
    return sum(len(record["values"]) for record in records)


def _trim(path: Path) -> None:
    """Cut off the half of a last line that a killed driver may have left."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
