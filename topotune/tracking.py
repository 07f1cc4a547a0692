"""MLflow, and nobody else talks to it: what is to be logged goes into an outbox first, a thread sends it on.

The outbox is a file in the study's folder, one JSON record a line, and ``sent-….json`` beside it says how far the
thread has come and which run is whose. So a server that is away slows nothing and loses nothing, and neither does a
killed driver: what could not be sent is sent when the study is next worked on. Records carry their own time stamps,
so a record that is sent twice is stored once.
"""

import hashlib
import json
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from topotune.errors import InputError
from topotune.files import read_table, write_json, write_text

SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
# a record that the server will refuse for ever is left out; everything else is tried again
_HOPELESS = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "BAD_REQUEST"}
_KEY = "topotune.key"
_UID = "topotune.uid"  # of the study's folder: another study may have the same name on a server
_BATCH = 900  # metrics a request; MLflow takes 1,000


def default_store(studies: Path) -> str:
    """The store beside the studies, for which no server is needed."""
    return f"sqlite:///{studies.resolve() / 'mlflow.db'}"


def check_store(uri: str) -> str:
    """The URI itself, if MLflow can keep runs there.

    Raises:
        InputError: it cannot.
    """
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme not in SCHEMES and uri != "databricks":
        raise InputError(f"--mlflow {shown(uri)}: not a tracking URI; it must begin with one of {', '.join(SCHEMES)}")
    return uri


def shown(uri: str) -> str:
    """The URI without its password."""
    parts = urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


class Tracker:
    """Runs by key: ``study``, ``trial/7``, ``confirm/grid2d/seed1`` …; every call only appends to the outbox."""

    def __init__(self, folder: Path, uri: str, experiment: str, warn: Callable[[str], None]) -> None:
        """Open the outbox in ``folder`` and start sending to the store at ``uri``."""
        folder.mkdir(parents=True, exist_ok=True)
        self._outbox = folder / "outbox.jsonl"
        self._outbox.touch()
        _trim(self._outbox)
        self._file = self._outbox.open("a", encoding="utf-8")
        self._sender = _Sender(self._outbox, folder, uri, experiment, warn)
        self._warn = warn
        self._thread = threading.Thread(target=self._sender.run, daemon=True, name="mlflow")
        self._thread.start()

    def run(self, key: str, name: str, parent: str | None, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Begin a run, or go on with it when it is there already."""
        self._append("run", key, name=name, parent=parent, params=dict(params), tags=dict(tags))

    def metrics(self, key: str, step: int, values: Mapping[str, float | None], at: float | None = None) -> None:
        """Metrics of one step, without those that are None; ``at`` is a Unix time, now if it is left out."""
        self._append("metrics", key, at, step=step, values={one: two for one, two in values.items() if two is not None})

    def artifact(self, key: str, path: Path, to: str = "") -> None:
        """A file, into the run's folder ``to``; it is read when it is sent."""
        self._append("artifact", key, path=str(path.resolve()), to=to)

    def end(self, key: str, status: str = "FINISHED", tags: Mapping[str, Any] | None = None) -> None:
        """End a run: FINISHED, FAILED or KILLED."""
        self._append("end", key, status=status, tags=dict(tags or {}))

    def told(self) -> list[dict[str, Any]]:
        """All records so far."""
        return [record for line in self._outbox.read_bytes().splitlines() if (record := _record(line))]

    def close(self, patience: float = 60.0) -> None:
        """Send what is left; give up when the server is away, or after ``patience`` seconds: the outbox keeps it."""
        self._file.close()
        self._sender.finish()
        self._thread.join(patience)
        if waiting := self._sender.waiting():
            self._warn(f"{waiting} records wait in {self._outbox}; they are sent when the study is next worked on")

    def _append(self, kind: str, key: str, at: float | None = None, **content: Any) -> None:
        record = {"kind": kind, "key": key, "time": int((at or time.time()) * 1000), **content}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        self._sender.wake()


class _Sender:
    """Empties the outbox into MLflow, record by record, in order."""

    def __init__(self, outbox: Path, folder: Path, uri: str, experiment: str, warn: Callable[[str], None]) -> None:
        self._outbox, self._uri, self._experiment, self._warn = outbox, uri, experiment, warn
        # one state a store: pointed at another one, everything is sent there from the start
        self._state_file = folder / f"sent-{hashlib.sha256(uri.encode()).hexdigest()[:8]}.json"
        state = read_table(self._state_file) if self._state_file.exists() else {}
        self._offset: int = state.get("offset", 0)
        self._runs: dict[str, str] = state.get("runs", {})
        if self._offset > outbox.stat().st_size:  # the outbox was deleted and begun anew
            self._offset = 0
        self._uid = _uid(folder / "uid")
        self._before = outbox.stat().st_size  # up to here, an earlier sender may have come farther than it noted
        self._news, self._finishing = threading.Event(), threading.Event()
        self._client: Any = None
        self._experiment_id = ""

    def waiting(self) -> int:
        """How many records are not sent yet."""
        return self._outbox.read_bytes()[self._offset :].count(b"\n")

    def wake(self) -> None:
        self._news.set()

    def finish(self) -> None:
        self._finishing.set()
        self._news.set()

    def run(self) -> None:
        """The thread: sends what there is, waits for more; after a failure it waits longer each time."""
        pause, warned = 1.0, False
        while True:
            self._news.clear()  # before the look at finishing: a wake-up between the two would be lost
            last = self._finishing.is_set()
            try:
                self._drain()
                pause = 1.0
                if not last:
                    self._news.wait()
            except Exception as error:  # noqa: BLE001 (whatever it is, it must not reach the search)
                if not warned:
                    self._warn(
                        f"MLflow at {shown(self._uri)} does not take records ({_reason(error, self._uri)}); "
                        f"they are kept in {self._outbox} and sent later"
                    )
                warned, self._client = True, None
                self._finishing.wait(pause)
                pause = min(2 * pause, 60)
            if last:
                return

    def _drain(self) -> None:
        with self._outbox.open("rb") as file:
            file.seek(self._offset)
            pending: list[dict[str, Any]] = []  # consecutive metrics of one run: one request
            end = self._offset
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written
                record = _record(line)
                if record is None:
                    if pending:
                        self._send_and_note(pending, end)
                        pending = []
                    self._warn(f"a damaged line of {self._outbox} is left out: {line[:60]!r}")
                    end += len(line)
                    self._note(end)
                    continue
                if pending and (record["kind"] != "metrics" or record["key"] != pending[0]["key"] or _full(pending)):
                    self._send_and_note(pending, end)
                    pending = []
                end += len(line)
                pending.append(record)
                if record["kind"] != "metrics":
                    self._send_and_note(pending, end)
                    pending = []
            if pending:
                self._send_and_note(pending, end)

    def _send_and_note(self, records: list[dict[str, Any]], end: int) -> None:
        self._connect()
        self._send(records)
        self._note(end)

    def _note(self, end: int) -> None:
        self._offset = end
        write_json(self._state_file, {"offset": self._offset, "runs": self._runs})

    def _send(self, records: list[dict[str, Any]]) -> None:
        from mlflow.exceptions import MlflowException

        key = records[0]["key"]
        try:
            getattr(self, f"_{records[0]['kind']}")(records)
        except MlflowException as error:
            if error.error_code not in _HOPELESS:
                raise
            if len(records) > 1:  # one is wrong, the others are not
                for record in records:
                    self._send([record])
                return
            self._warn(f"MLflow refused a record of {key} ({_reason(error, self._uri)}); it is left out")
        except (FileNotFoundError, KeyError) as error:
            self._warn(f"a record of {key} cannot be sent to MLflow ({_reason(error, self._uri)}); it is left out")

    def _connect(self) -> None:
        if self._client is not None:
            return
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the outbox tries again
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # read by mlflow as it is imported
        for name, level in (("alembic", logging.WARNING), ("urllib3", logging.ERROR)):
            logging.getLogger(name).setLevel(level)
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self._uri)
        experiment = client.get_experiment_by_name(self._experiment)
        if experiment is None:
            self._experiment_id = client.create_experiment(self._experiment, artifact_location=self._artifacts())
        else:
            self._experiment_id = experiment.experiment_id
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(self._experiment_id)
        self._client = client

    def _artifacts(self) -> str | None:
        """Where artifacts go: beside a SQLite file; a server knows its own place."""
        if not self._uri.startswith("sqlite:///"):
            return None
        return (Path(self._uri.removeprefix("sqlite:///")).parent / "mlartifacts" / self._experiment).as_uri()

    def _run(self, records: list[dict[str, Any]]) -> None:
        from mlflow.entities import Param

        record, key = records[0], records[0]["key"]
        if key in self._runs:
            self._client.update_run(self._runs[key], status="RUNNING")
            return
        tags = {name: str(value) for name, value in record["tags"].items() if value is not None}
        tags |= {_KEY: key, _UID: self._uid}
        if record["parent"] is not None:
            tags["mlflow.parentRunId"] = self._runs[record["parent"]]
        run = self._find(key) if self._offset < self._before else None
        run = run or self._client.create_run(self._experiment_id, record["time"], tags, record["name"])
        self._runs[key] = run.info.run_id
        params = [Param(name, str(value)) for name, value in record["params"].items()]
        self._client.log_batch(run.info.run_id, params=params)

    def _find(self, key: str) -> Any:
        """A run that was created, but its driver was killed before that was noted."""
        same = f"tags.`{_KEY}` = '{key}' and tags.`{_UID}` = '{self._uid}'"
        found = self._client.search_runs([self._experiment_id], same, max_results=1)
        return found[0] if found else None

    def _metrics(self, records: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(name, float(value), record["time"], record["step"])
            for record in records
            for name, value in record["values"].items()
        ]
        self._client.log_batch(self._runs[records[0]["key"]], metrics=metrics)

    def _artifact(self, records: list[dict[str, Any]]) -> None:
        record = records[0]
        if not Path(record["path"]).is_file():
            raise FileNotFoundError(record["path"])
        self._client.log_artifact(self._runs[record["key"]], record["path"], record["to"] or None)

    def _end(self, records: list[dict[str, Any]]) -> None:
        from mlflow.entities import RunTag

        record, run = records[0], self._runs[records[0]["key"]]
        if record["tags"]:
            self._client.log_batch(run, tags=[RunTag(name, str(value)) for name, value in record["tags"].items()])
        self._client.set_terminated(run, record["status"], record["time"])


def _record(line: bytes) -> dict[str, Any] | None:
    """A record of the outbox, or None where the line is damaged."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"kind", "key"} <= set(record) else None


def _full(records: list[dict[str, Any]]) -> bool:
    return sum(len(record["values"]) for record in records) >= _BATCH


def _reason(error: Exception, uri: str | None) -> str:
    """What an error says, in one line and without the URI's password."""
    lines = str(error).strip().replace(urlsplit(uri or "").password or "\0", "***").splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _uid(path: Path) -> str:
    if not path.exists():
        write_text(path, uuid.uuid4().hex)
    return path.read_text(encoding="utf-8")


def _trim(outbox: Path) -> None:
    """Cut off the half of a last line that a killed driver may have left."""
    content = outbox.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(outbox, content.rfind(b"\n") + 1)


def download(uri: str, store: str, folder: Path) -> Path:
    """Fetch a checkpoint at an MLflow URI (``runs:/…``, ``models:/…``) into ``folder``; where it lies there.

    Raises:
        InputError: there is nothing at that URI, or the store does not answer.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        place = _registered(uri, store) if uri.startswith("models:/") else uri
        return Path(download_artifacts(artifact_uri=place, dst_path=str(folder), tracking_uri=store))
    except (MlflowException, OSError) as error:
        raise InputError(f"no checkpoint at {uri}: {_reason(error, store)}") from None


def _registered(uri: str, store: str) -> str:
    """Where the files of ``models:/…`` are. MLflow itself looks that up in the process's own registry, told or not."""
    from mlflow.store.artifact.utils.models import get_model_name_and_version
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store, registry_uri=store)
    found = get_model_name_and_version(client, uri)  # type: ignore[no-untyped-call]
    if len(found) == 1:  # models:/<model id>
        return str(client.get_logged_model(found[0]).artifact_location)
    return str(client.get_model_version_download_uri(*found))


def ui_command(uri: str, host: str, port: int) -> list[str]:
    """The command that opens MLflow's pages on the store; it listens on loopback unless told otherwise."""
    return [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
