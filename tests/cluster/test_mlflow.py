"""MLflow's server by cluster/mlflow/server.sh, for real: PostgreSQL, passwords, the names it is called by."""

import base64
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.support import CLUSTER
from tests.conftest import Cli
from tests.integration.support import rows, write_space
from tests.servers import Postgres, free_port, missing_postgres

pytestmark = pytest.mark.slow

SCRIPT = CLUSTER / "mlflow" / "server.sh"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


@dataclass(frozen=True)
class Server:
    uri: str
    password: str

    def answer(self, path: str, password: str | None = None, **headers: str) -> int:
        """The status of a GET of ``path``, as admin where there is a password."""
        if password is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()
        request = urllib.request.Request(self.uri + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code


def _environment(**values: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PG"))}
    return env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}"} | values


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if absent := missing_postgres():
        pytest.skip(f"no PostgreSQL here: {absent}")
    folder, port, password = tmp_path_factory.mktemp("mlflow"), free_port(), secrets.token_hex(12)
    database = Postgres()
    kubernetes = (CLUSTER / "kubernetes" / "mlflow.yaml").read_text(encoding="utf-8")
    (hosts,) = re.findall(r'MLFLOW_SERVER_ALLOWED_HOSTS, value: "(.+)"', kubernetes)
    env = _environment(
        PGHOST="127.0.0.1", PGPORT=str(database.port), PGUSER=database.user, PGDATABASE="postgres", PGPASSWORD="unused",
        MLFLOW_AUTH_ADMIN_PASSWORD=password, MLFLOW_FLASK_SERVER_SECRET_KEY=secrets.token_hex(32),
        MLFLOW_ARTIFACTS_DESTINATION=str(folder / "artifacts"), MLFLOW_PORT=str(port), MLFLOW_WORKERS="1",
        MLFLOW_SERVER_ALLOWED_HOSTS=hosts, MLFLOW_SERVER_CORS_ALLOWED_ORIGINS="https://mlflow.example.org",
    )  # fmt: skip
    log = (folder / "log").open("wb")
    process = None
    try:
        database.start()
        process = subprocess.Popen([SCRIPT], env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        found, until = Server(f"http://127.0.0.1:{port}", password), time.monotonic() + 240
        while True:
            try:
                assert found.answer("/health") == 200
                break
            except urllib.error.URLError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.5)
        yield found
    finally:
        if process and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        database.stop()
        log.close()


def test_only_who_has_the_password_is_answered(server: Server) -> None:
    assert server.answer(SEARCH) == 401
    assert server.answer(SEARCH, "wrong" * 4) == 401
    assert server.answer(SEARCH, server.password) == 200
    assert server.answer("/api/2.0/mlflow-artifacts/artifacts") == 401


def test_only_known_names_and_pages_are_answered(server: Server) -> None:
    assert server.answer(SEARCH, server.password, Host="mlflow:5000") == 200
    assert server.answer(SEARCH, server.password, Host="elsewhere.example.org") == 403


def test_a_study_is_logged_by_user_and_password(server: Server, cli: Cli, tmp_path: Path) -> None:
    space = write_space(tmp_path)
    words = ["search", space, "--set", "budget.trials=2", "--set", "epochs=1", "--mlflow", server.uri]
    done = cli(*words, MLFLOW_TRACKING_USERNAME="admin", MLFLOW_TRACKING_PASSWORD=server.password)
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path / "studies" / "small" / "trials.csv")) == 2
    looked = subprocess.run(
        [sys.executable, "-c", LOOK], capture_output=True, text=True, timeout=240,
        env=_environment(
            MLFLOW_TRACKING_URI=server.uri, MLFLOW_TRACKING_USERNAME="admin", MLFLOW_TRACKING_PASSWORD=server.password
        ),
    )  # fmt: skip
    assert looked.returncode == 0, looked.stderr
    assert looked.stdout.split() == ["3", "2", "kept"]  # the study and its trials, their accuracies, an artifact


LOOK = """
import mlflow
client = mlflow.MlflowClient()
runs = client.search_runs([one.experiment_id for one in client.search_experiments(filter_string="name = 'small'")])
print(len(runs), sum("validation_accuracy" in run.data.metrics for run in runs))
client.log_text(runs[0].info.run_id, "kept", "note.txt")
print(mlflow.artifacts.load_text(runs[0].info.artifact_uri + "/note.txt"))
"""


@pytest.mark.parametrize("name", ["PGPASSWORD", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"])
def test_it_does_not_start_without_its_secrets(name: str, tmp_path: Path) -> None:
    needed = re.findall(r'"\$\{(\w+):\?\}"', SCRIPT.read_text(encoding="utf-8"))
    env = _environment(**{one: "x" * 12 for one in needed if one != name})
    done = subprocess.run([SCRIPT], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert name in done.stderr
