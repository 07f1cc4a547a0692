"""System metrics, on request: an epoch's own among its other metrics in MLflow."""

import pytest

from tests.conftest import Cli
from tests.integration.support import by_key, one_error, rows, tracked, write_space

pytestmark = pytest.mark.slow

CPU, MEMORY = "system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"


def test_each_epoch_tells_what_its_process_took(cli: Cli) -> None:
    space = write_space(cli.cwd)
    words = ("--set", "study.system_metrics=true", "--set", "budget.trials=2", "--set", "epochs=3")
    done = cli("search", space, *words)
    assert done.returncode == 0, done.stderr
    client, found = tracked(f"sqlite:///{cli.cwd / 'studies' / 'mlflow.db'}", "small")
    runs = by_key(found)
    for row in rows(cli.cwd / "studies" / "small" / "trials.csv"):
        run = runs[f"trial/{row['id']}"]
        for name, least in ((CPU, 1), (MEMORY, 100)):  # a process with torch in it takes more than 100 MB
            history = client.get_metric_history(run.info.run_id, name)
            assert sorted(one.step for one in history) == list(range(1, int(row["epochs"]) + 1))
            assert all(one.value > least for one in history)
            (of_loss,) = {one.timestamp for one in client.get_metric_history(run.info.run_id, "task_loss")[:1]}
            assert of_loss in {one.timestamp for one in history}  # one record, one request


def test_without_it_there_are_none_and_it_is_true_or_false(cli: Cli) -> None:
    space = write_space(cli.cwd)
    one_error(cli("search", space, "--set", "study.system_metrics=1"), "system_metrics = 1 must be true or false")
    done = cli("search", space, "--set", "budget.trials=1", "--set", "epochs=1")
    assert done.returncode == 0, done.stderr
    found = by_key(tracked(f"sqlite:///{cli.cwd / 'studies' / 'mlflow.db'}", "small")[1])
    assert not [name for name in found["trial/0"].data.metrics if name.startswith("system/")]
