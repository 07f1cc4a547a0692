"""MLflow's server killed while a study tells it of its epochs: no point is lost, no run is there twice."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import by_key, tracked, wait_for
from tests.servers import MlflowServer, Postgres, missing_postgres
from topotune.tracking import Tracker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

TRIALS, EPOCHS = 6, 40


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MlflowServer]:
    """MLflow's server on a database that stays when it is killed."""
    postgres = None
    if request.param == "postgresql":
        if missing := missing_postgres():
            pytest.skip(f"PostgreSQL cannot be used here, missing: {missing}")
        postgres = Postgres()
    server = MlflowServer(tmp_path, f"sqlite:///{tmp_path / 'server.db'}")
    try:
        if postgres:
            postgres.start()
            server.database = postgres.uri
        server.start()
        yield server
    finally:
        server.stop()
        if postgres:
            postgres.stop()


def test_a_server_killed_twice_loses_no_point_and_doubles_no_run(server: MlflowServer, tmp_path: Path) -> None:
    """Each time in the middle of a stream of new runs and metrics, so that answers get lost on their way."""
    warnings: list[str] = []
    tracker = Tracker(tmp_path / "study" / "mlflow", server.uri, "digits", warnings.append)
    tracker.run("study", "digits", None, {}, {})
    told: dict[str, dict[int, float]] = {}
    for trial in range(TRIALS):
        key = f"trial/{trial}"
        tracker.run(key, f"trial {trial}", "study", {"weight": trial / 8}, {"stage": "search"})
        for epoch in range(1, EPOCHS + 1):
            told.setdefault(key, {})[epoch] = trial + epoch / 64
            tracker.metrics(key, epoch, {"accuracy": told[key][epoch], "loss": 1.0})
            time.sleep(0.01)
        tracker.end(key, tags={"state": "complete"})
        if trial in (1, 3):
            server.stop()
            time.sleep(1)
            server.start()
    tracker.end("study")
    wait_for(lambda: not tracker.waiting(), 200, "all records in the store")
    tracker.close()
    assert [one for one in warnings if "does not take records" not in one] == []

    client, found = tracked(server.uri, "digits")
    runs = by_key(found)  # no key twice
    assert runs.keys() == {"study", *told}
    for key, values in told.items():
        run = runs[key]
        assert run.info.status == "FINISHED"
        assert (run.data.params, run.data.tags["state"]) == ({"weight": str(int(key[-1]) / 8)}, "complete")
        assert run.data.tags["mlflow.parentRunId"] == runs["study"].info.run_id
        history = [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, "accuracy")]
        assert sorted(history) == sorted(values.items())  # each once
