"""What each record becomes in MLflow: a study is an experiment, its records are runs in it."""

import logging
import os
from pathlib import Path
from typing import Any

from topotune.tracking import registry, sqlite
from topotune.tracking.outbox import Record
from topotune.tracking.uri import RUN, reason

# a record that the server will refuse for ever is left out; everything else is tried again
_HOPELESS = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "BAD_REQUEST"}
_KEY = "topotune.key"
_UID = "topotune.uid"


class Refused(Exception):
    """The store will never take this; the text says why."""


class Experiment:
    """One experiment in MLflow's store, open."""

    def __init__(self, uri: str, name: str, uid: str, runs: dict[str, str]) -> None:
        """Find the experiment, or create it.

        Args:
            uri: the store's.
            name: the study's.
            uid: of the study's folder, to tell its runs from those of another study with that name.
            runs: MLflow's run ids by our keys; those of runs to come are added.
        """
        _quieten()
        from mlflow.tracking import MlflowClient

        self._uri, self._uid, self._runs = uri, uid, runs
        sqlite.make(uri)
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        found = self._client.get_experiment_by_name(name)
        if found is None:
            self._id = self._client.create_experiment(name, artifact_location=sqlite.artifacts(uri, name))
        else:
            self._id = found.experiment_id
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(self._id)

    def write(self, records: list[Record], doubtful: bool) -> None:
        """Write one record, or metrics of several.

        Args:
            records: of one kind.
            doubtful: they may have been written before, without our knowledge.

        Raises:
            Refused: the store takes them neither now nor later.
        """
        from mlflow.exceptions import MlflowException

        record = records[0]
        try:
            match record["kind"]:
                case "metrics":
                    self._metrics(records)
                case "run":
                    self._run(record, doubtful)
                case "artifact":
                    self._artifact(record)
                case "model":
                    registry.register(
                        self._client, self._runs[record["key"]], record["name"], record["path"], record["tags"]
                    )
                case "end":
                    self._end(record)
        except MlflowException as error:
            if error.error_code not in _HOPELESS:
                raise
            raise Refused(reason(error, self._uri)) from error
        except (FileNotFoundError, KeyError) as error:  # a file that is gone, a run that was refused
            raise Refused(reason(error, self._uri)) from error

    def _run(self, record: Record, doubtful: bool) -> None:
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        key = record["key"]
        if key in self._runs:
            self._client.update_run(self._runs[key], status="RUNNING")
            return
        tags = {name: str(value) for name, value in record["tags"].items() if value is not None}
        tags |= {_KEY: key, _UID: self._uid}
        if record["parent"] is not None:
            tags["mlflow.parentRunId"] = self._parent(record["parent"])
        run = self._find(key) if doubtful else None
        run = run or self._client.create_run(self._id, record["time"], tags, record["name"])
        try:
            params = [Param(name, str(value)) for name, value in record["params"].items()]
            self._client.log_batch(run.info.run_id, params=params)
        except MlflowException as error:
            if error.error_code in _HOPELESS:  # the run is there, without its params
                self._runs[key] = run.info.run_id
            raise
        self._runs[key] = run.info.run_id

    def _parent(self, parent: str) -> str:
        """The id of a run: of one that we told of, by its key, or of any other, ``runs:/<id>``."""
        return parent.removeprefix(RUN) if parent.startswith(RUN) else self._runs[parent]

    def _find(self, key: str) -> Any:
        """A run that was created, but its driver was killed, or the server, before that was noted."""
        same = f"tags.`{_KEY}` = '{key}' and tags.`{_UID}` = '{self._uid}'"
        found = self._client.search_runs([self._id], same, max_results=1)
        return found[0] if found else None

    def _metrics(self, records: list[Record]) -> None:
        """One request a run."""
        from mlflow.entities import Metric

        metrics: dict[str, list[Metric]] = {}
        for record in records:
            metrics.setdefault(self._runs[record["key"]], []).extend(
                Metric(name, float(value), record["time"], record["step"]) for name, value in record["values"].items()
            )
        for run, own in metrics.items():
            self._client.log_batch(run, metrics=own)

    def _artifact(self, record: Record) -> None:
        if not Path(record["path"]).is_file():
            raise FileNotFoundError(record["path"])
        self._client.log_artifact(self._runs[record["key"]], record["path"], record["to"] or None)

    def _end(self, record: Record) -> None:
        from mlflow.entities import RunTag

        run = self._runs[record["key"]]
        if record["tags"]:
            self._client.log_batch(run, tags=[RunTag(name, str(value)) for name, value in record["tags"].items()])
        self._client.set_terminated(run, record["status"], record["time"])


def _quieten() -> None:
    """Before mlflow is imported, which reads these; what is to be said is said by the sender."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the outbox tries again
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    for name, level in (("alembic", logging.WARNING), ("urllib3", logging.ERROR)):
        logging.getLogger(name).setLevel(level)
