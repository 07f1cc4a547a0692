"""MLflow's model registry, and checkpoints fetched from MLflow."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topotune.errors import InputError
from topotune.tracking.uri import RUN, reason

ALIAS = "best"  # models:/<study>@best
_OF_STUDY = ("study", "study_hash")


@dataclass(frozen=True)
class Origin:
    """The run that a checkpoint is of: its id, the name of its experiment, and its tags that name the study."""

    run: str
    experiment: str
    tags: Mapping[str, str]


def register(client: Any, run: str, name: str, path: str, tags: Mapping[str, Any]) -> None:
    """Make a run's files the version of model ``name`` that bears ALIAS; one version a run, however often it is told.

    Args:
        client: an MlflowClient.
        run: its id.
        path: of the checkpoint among the run's artifacts.
        tags: of a version that is not there yet.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    there = client.search_model_versions(f"name = '{name}' and run_id = '{run}'")
    if there:
        version = there[0].version
    else:
        told = {key: str(value) for key, value in tags.items() if value is not None}
        version = client.create_model_version(name, f"runs:/{run}/{path}", run, told, await_creation_for=0).version
    client.set_registered_model_alias(name, ALIAS, version)


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
        raise InputError(f"no checkpoint at {uri}: {reason(error, store)}") from None


def origin(uri: str, store: str) -> Origin | None:
    """The run that the checkpoint at an MLflow URI is of; None of a registered model that no run made.

    Raises:
        InputError: there is nothing at that URI, or the store does not answer.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store, registry_uri=store)
    try:
        identity = uri.split("/")[1] if uri.startswith(RUN) else _run_of_model(client, uri)
        if not identity:
            return None
        run = client.get_run(identity)
        experiment = client.get_experiment(run.info.experiment_id)
    except (MlflowException, OSError) as error:
        raise InputError(f"no run of {uri}: {reason(error, store)}") from None
    tags = {name: run.data.tags[name] for name in _OF_STUDY if name in run.data.tags}
    return Origin(identity, experiment.name, tags)


def _run_of_model(client: Any, uri: str) -> str | None:
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    found = get_model_name_and_version(client, uri)  # type: ignore[no-untyped-call]
    run = (
        client.get_logged_model(found[0]).source_run_id if len(found) == 1 else client.get_model_version(*found).run_id
    )
    return str(run) if run else None


def _registered(uri: str, store: str) -> str:
    """Where the files of ``models:/…`` are. MLflow itself looks that up in the process's own registry, told or not."""
    from mlflow.store.artifact.utils.models import get_model_name_and_version
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store, registry_uri=store)
    found = get_model_name_and_version(client, uri)  # type: ignore[no-untyped-call]
    if len(found) == 1:  # models:/<model id>
        return str(client.get_logged_model(found[0]).artifact_location)
    return str(client.get_model_version_download_uri(*found))
