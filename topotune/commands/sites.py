"""Where a command works, from its options: folders, stores, sessions."""

import argparse
import os
import re
from pathlib import Path
from typing import Any

from topotune.errors import InputError


def new_session(options: argparse.Namespace) -> Any:
    """A session on a study file."""
    from topotune.folder import StudyFolder
    from topotune.search.study_file import load_study

    studies = studies_folder(options)
    file = load_study(options.target, overrides(options))
    name = file.name
    if options.fresh:
        number = 2
        while (studies / name).exists():
            name, number = f"{file.name}-{number}", number + 1
        options.fresh_name = name
        file = load_study(options.target, overrides(options) | {"study.name": name})
    return _session(options, file, StudyFolder(studies / name))


def old_session(options: argparse.Namespace) -> Any:
    """A session on a study that was begun before."""
    from topotune.folder import open_study
    from topotune.search.study_file import load_study

    folder = open_study(options.target, studies_folder(options))
    return _session(options, load_study(folder.study_file, overrides(options)), folder)


def _session(options: argparse.Namespace, file: Any, folder: Any) -> Any:
    from topotune.followup.perturbations import check_asked

    check_asked(file.option("robustness", "perturbations"))
    data, store = data_folder(options), store_of(options, folder.path.parent)
    from topotune.stages import Session, Site  # torch: seconds that wrong input need not wait for

    return Session(file, folder, Site(data, options.address, store, options.download))


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """What --set and --workers say in place of a study file."""
    from topotune.search.study_file import parse_override

    values = dict(map(parse_override, options.set))
    workers = getattr(options, "workers", None)
    return values if workers is None else values | {"workers": workers}


def data_folder(options: argparse.Namespace) -> Path | None:
    """The folder of the data sets."""
    folder = options.data or os.environ.get("TOPOTUNE_DATA")
    return Path(folder).resolve() if folder else None


def store_of(options: argparse.Namespace, studies: Path) -> str:
    """MLflow's store."""
    from topotune.tracking import check_store, default_store

    if options.mlflow:
        return check_store(options.mlflow)
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return check_store(given, "MLFLOW_TRACKING_URI") if given else default_store(studies)


def studies_folder(options: argparse.Namespace) -> Path:
    """Where studies live. A submitted job's working folder is a copy that Ray deletes, so a job's are at home."""
    folder = options.studies or os.environ.get("TOPOTUNE_STUDIES")
    if folder:
        check_no_store("--studies" if options.studies else "TOPOTUNE_STUDIES", folder)
        return Path(folder).resolve()
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return Path.home() / "topotune" / "studies"
    return Path("studies").resolve()


def check_no_store(name: str, folder: str | Path) -> None:
    """Whether a folder is one, and no address of an object store (of which a Path keeps one slash).

    Raises:
        InputError: it is such an address.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(folder)):
        raise InputError(
            f"{name} {folder}: must be a folder; an object store cannot hold studies, which lock and append to their "
            "files, but can be mounted for data, and finished studies copied to it"
        )
