"""``topotune robustness`` on a real study and on its checkpoints: rows, MLflow, report, going on, wrong input."""

from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.integration.support import by_key, one_error, rows, tracked, write_space

pytestmark = pytest.mark.slow

SMALL = ("budget.trials=2", "epochs=2", "confirm.seeds=1", "prune.proportions=[0.0]", "topography=grid2d")


def test_a_study_and_its_checkpoints(cli: Cli) -> None:
    space, words = write_space(cli.cwd), [part for one in SMALL for part in ("--set", one)]
    one_error(cli("plan", space, "--set", 'robustness.perturbations=["fgo"]'), "unknown perturbation 'fgo'", "all")
    one_error(cli("run", space, *words, "--set", 'robustness.perturbations=["speed"]'), "'speed' is for sounds")
    assert not (cli.cwd / "studies" / "small").exists()
    # two at the study's own request
    done = cli("run", space, *words, "--set", 'robustness.perturbations=["white", "weight"]')
    assert done.returncode == 0, done.stderr
    assert "robustness: 4/4 measurements" in done.stderr
    folder = cli.cwd / "studies" / "small"
    models, first = rows(folder / "confirm.csv"), rows(folder / "robustness.csv")
    assert [(row["config_hash"], row["perturbation"]) for row in first] == [
        (model["config_hash"], name) for model in models for name, count in (("weight", 110), ("white", 5))
        for _ in range(count)
    ]  # fmt: skip
    clean = {model["config_hash"]: float(model["test_accuracy"]) for model in models}
    assert all(float(row["clean_accuracy"]) == clean[row["config_hash"]] for row in first)
    assert "Robustness" in (folder / "report.html").read_text(encoding="utf-8")
    _check_mlflow(cli.cwd, models, first)
    _check_going_on(cli, folder, models, first)
    _check_checkpoints(cli, folder, models, first)


def _check_mlflow(home: Path, models: list[dict[str, str]], measured: list[dict[str, str]]) -> None:
    client, found = tracked(f"sqlite:///{home / 'studies' / 'mlflow.db'}", "small")
    runs = by_key(found)
    for model in models:
        run = runs[f"robustness/{model['config_hash']}"]
        assert run.data.tags["mlflow.parentRunId"] == runs[f"confirm/{model['config_hash']}"].info.run_id
        assert run.info.status == "FINISHED"
        curve = {
            round(1000 * float(row["level"])): float(row["accuracy"])
            for row in measured
            if row["config_hash"] == model["config_hash"] and row["perturbation"] == "white"
        }
        history = client.get_metric_history(run.info.run_id, "accuracy_white")
        assert {one.step: one.value for one in history} == curve


def _check_going_on(cli: Cli, folder: Path, models: list[dict[str, str]], first: list[dict[str, str]]) -> None:
    """What is there stays; an interrupted measurement's rows are none, for they are written whole."""
    path = folder / "robustness.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-2]), encoding="utf-8")  # a perturbation of which rows are missing
    again = cli("robustness", "small", "--perturbations", "white,weight")
    assert again.returncode == 0, again.stderr
    assert "1 done" in again.stderr
    assert rows(path) == first
    idle = cli("robustness", "small", "--perturbations", "white,weight")
    assert idle.stderr.strip() == f"robustness: nothing to do, {len(models)} models are measured under white, weight"


def _check_checkpoints(cli: Cli, folder: Path, models: list[dict[str, str]], first: list[dict[str, str]]) -> None:
    """In this process, without Ray: the same numbers."""
    out, where = cli.cwd / "rows.csv", folder / models[1]["checkpoint"]
    done = cli("robustness", where, "--perturbations", "white", "--out", out)
    assert done.returncode == 0, done.stderr
    same = [row for row in first if row["config_hash"] == models[1]["config_hash"] and row["perturbation"] == "white"]
    measured = rows(out)
    assert {row.pop("checkpoint") for row in measured} == {str(where)}
    assert len({row.pop("weights") for row in measured}) == 1
    assert measured == same
    one_error(cli("robustness", where), "is a checkpoint", "--out FILE.csv")
    one_error(cli("robustness", where, "--perturbations", "fog,speed", "--out", out), "'speed' is for sounds")
    one_error(cli("robustness", "nowhere"), "no study 'nowhere'")
