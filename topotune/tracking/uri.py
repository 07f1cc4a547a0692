"""A store's URI: what one may look like, and how it is told of without its password."""

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from topotune.errors import InputError

RUN = "runs:/"  # what the URI of something within a run begins with
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")


def default_store(studies: Path) -> str:
    """The store beside the studies, for which no server is needed."""
    return f"sqlite:///{studies.resolve() / 'mlflow.db'}"


def check_store(uri: str, where: str = "--mlflow") -> str:
    """The URI itself, if MLflow can keep runs there; ``where`` heads the text of an error.

    A command line stays in the shell's history and is seen in the list of processes, so it takes no password. The
    environment may hold one: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN for a
    server, PGPASSWORD (or the file ~/.pgpass) for PostgreSQL, a URI with it in MLFLOW_TRACKING_URI for any database.

    Raises:
        InputError: MLflow cannot, or a password stands on the command line.
    """
    try:
        scheme = urlsplit(uri).scheme.partition("+")[0]
    except ValueError as error:
        raise InputError(f"{where}: not a tracking URI ({error})") from None
    if scheme not in SCHEMES and uri != "databricks":
        raise InputError(f"{where} {shown(uri)}: not a tracking URI; it must begin with one of {', '.join(SCHEMES)}")
    if where == "--mlflow" and _passwords(uri):
        raise InputError(
            f"{where} {shown(uri)}: a password on the command line stays in logs and in the shell's history; put it "
            "into the environment: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN) "
            "for a server, PGPASSWORD for PostgreSQL, or the whole URI into MLFLOW_TRACKING_URI"
        )
    return uri


def shown(uri: str) -> str:
    """The URI without its passwords."""
    return _masked(uri, uri)


def reason(error: BaseException, uri: str) -> str:
    """What an error says, in one line and without the URI's passwords."""
    lines = _masked(str(error).strip(), uri).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _passwords(uri: str) -> list[str]:
    """As they stand in the URI: before the host, and in the query (``?password=…``), where databases take them too."""
    parts = urlsplit(uri)
    query = [one.partition("=") for one in parts.query.split("&")]
    found = [parts.password or "", *(value for name, _, value in query if "password" in name.lower())]
    return [spelled for one in found if one for spelled in {one, unquote(one)}]


def _masked(text: str, uri: str) -> str:
    for password in _passwords(uri):
        text = text.replace(f":{password}@", ":***@").replace(f"={password}", "=***")
    return text


def ui_command(host: str, port: int) -> list[str]:
    """The command that opens MLflow's pages; it reads the store's URI from MLFLOW_BACKEND_STORE_URI, where no list of
    processes shows it."""
    return [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port)]
