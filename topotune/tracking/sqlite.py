"""A store that is a SQLite file: made whole or not at all, and where its artifacts go."""

import fcntl
from pathlib import Path


def make(uri: str) -> None:
    """Make the store's file with its tables, if it is not there yet; nothing for any other store.

    MLflow makes tables where it finds none, in many steps: two processes that do it at a time, or one that is killed
    meanwhile, leave a file that cannot be opened again. So one process at a time does it, in a file beside the place.
    """
    from mlflow.tracking import MlflowClient

    database = _file(uri)
    if database is None:
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f".{database.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if database.exists() and database.stat().st_size:
            return
        new = database.with_name(f".{database.name}.new")
        for left in (new, new.with_name(f"{new.name}-journal")):  # of a process that was killed
            left.unlink(missing_ok=True)
        MlflowClient(tracking_uri=f"sqlite:///{new}")
        new.replace(database)


def artifacts(uri: str, experiment: str) -> str | None:
    """The folder for an experiment's artifacts, beside a SQLite file; a server knows its own place."""
    database = _file(uri)
    return (database.parent / "mlartifacts" / experiment).as_uri() if database else None


def _file(uri: str) -> Path | None:
    path = uri.partition("?")[0].removeprefix("sqlite:///")
    return Path(path).resolve() if path and uri.startswith("sqlite:///") else None
