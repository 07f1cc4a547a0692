"""From a checkpoint in MLflow to what was made of it: search -> checkpoint -> pruned model, as a person finds it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from topotune.cli import main
from topotune.config import TrialConfig
from topotune.files import read_csv
from topotune.folder import checkpoint_files
from topotune.load import load_checkpoint
from topotune.tracking import Tracker
from topotune.training.fit import fit

Quick = Callable[..., TrialConfig]
Capture = pytest.CaptureFixture[str]

# MLflow's own, of the libraries under it
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def checkpoint(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    fit(quick(epochs=3), folder)
    return folder


@pytest.fixture
def store(blank: Path, checkpoint: Path, tmp_path: Path) -> str:
    """A store that knows of a study: its run, its confirmed model, registered."""
    shutil.copy(blank, tmp_path / "mlflow.db")
    store, said = f"sqlite:///{tmp_path / 'mlflow.db'}", list[str]()
    tracker = Tracker(tmp_path / "study", store, "digits", said.append)
    tags = {"study": "digits", "study_hash": "abc"}
    tracker.run("study", "digits", None, {}, tags)
    tracker.run("confirm/0", "confirm grid2d", "study", {}, tags | {"stage": "confirm"})
    for file in checkpoint_files(checkpoint):
        tracker.artifact("confirm/0", file, "checkpoint")
    tracker.best("confirm/0", "digits", "checkpoint", {})
    tracker.close()
    assert said == []
    return store


def _run(store: str, stage: str, experiment: str = "digits") -> Run:
    """The only run of a stage."""
    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (run,) = client.search_runs([found.experiment_id], f"tags.stage = '{stage}'")
    return run


def _parent(run: Run) -> str:
    return str(run.data.tags["mlflow.parentRunId"])


def _steps(store: str, run: Run, name: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in MlflowClient(store).get_metric_history(run.info.run_id, name)]


def test_a_compact_network_is_a_child_of_its_checkpoints_run(store: str, tmp_path: Path) -> None:
    words = ["--mlflow", store, "--out", str(tmp_path / "small")]
    command = ["compact", "models:/digits@best", "--proportion", "0.5", *words]
    assert main([*command, "--export", str(tmp_path / "small.pt2")]) == 0
    run = _run(store, "compact")
    assert _parent(run) == _run(store, "confirm").info.run_id
    assert (run.data.tags["study"], run.data.tags["study_hash"], run.data.tags["state"]) == (
        "digits",
        "abc",
        "complete",
    )
    assert run.data.tags["checkpoint"] == "models:/digits@best"
    assert {name: run.data.params[name] for name in ("proportion", "criterion", "topography")} == {
        "proportion": "0.5", "criterion": "l2", "topography": "grid2d",
    }  # fmt: skip
    assert run.data.metrics["compact_parameters"] < 0.4 * run.data.metrics["whole_parameters"]
    assert run.data.metrics["largest_difference"] < 1e-5
    files = MlflowClient(store).list_artifacts(run.info.run_id, "exported")
    assert [one.path for one in files] == ["exported/small.pt2"]
    # the compact network can be had from there, and measured: a run under its own
    small = f"runs:/{run.info.run_id}/checkpoint"
    theirs, ours = (load_checkpoint(one, store).state_dict() for one in (small, tmp_path / "small"))
    assert all(value.equal(ours[name]) for name, value in theirs.items())
    tried = ["robustness", small, "--perturbations", "white", "--out", str(tmp_path / "tried.csv"), "--mlflow", store]
    assert main(tried) == 0
    assert _parent(_run(store, "robustness")) == run.info.run_id
    assert main(command) == 0  # again: the same run
    assert _run(store, "compact").info.run_id == run.info.run_id


def test_rows_of_a_checkpoint_are_told_once(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store by MLflow's own variable; the run by its id; gone on with."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    confirmed = _run(store, "confirm").info.run_id
    out, location = tmp_path / "rows.csv", f"runs:/{confirmed}/checkpoint"
    for proportions in ("[0, 0.5]", "[0, 0.5, 1]", "[0, 0.5, 1]"):
        words = ["--set", f"prune.proportions={proportions}", "--set", "prune.criterion=['l2', 'l1']"]
        assert main(["prune", location, "--out", str(out), *words]) == 0
    run, rows = _run(store, "prune"), read_csv(out)
    assert _parent(run) == confirmed
    for name, criterion in (("pruned_accuracy", "l2"), ("pruned_accuracy_l1", "l1")):
        told = [(round(1000 * row["proportion"]), row["accuracy"]) for row in rows if row["criterion"] == criterion]
        assert _steps(store, run, name) == told
        assert len(told) == 3
    # one that was killed before it had told of its end is ended by the same command, which finds nothing to do
    MlflowClient(store).update_run(run.info.run_id, "RUNNING")
    assert main(["prune", location, "--out", str(out), *words]) == 0
    assert _run(store, "prune").info.status == "FINISHED"


def test_draws_are_told_as_their_mean(store: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    words = ["robustness", "models:/digits/1", "--perturbations", "weight", "--out", str(out), "--mlflow", store]
    assert main(words) == 0
    rows = read_csv(out)
    assert len(rows) == 110
    kept = out.read_text(encoding="utf-8").splitlines()[: 1 + 104]  # as if it had been killed within a level's draws
    out.write_text("\n".join(kept) + "\n", encoding="utf-8")
    assert main(words) == 0
    assert read_csv(out) == rows
    told = dict(_steps(store, _run(store, "robustness"), "accuracy_weight"))
    for level in (0.0, 0.5, 1.0):
        drawn = [row["accuracy"] for row in rows if row["level"] == level]
        assert told[round(1000 * level)] == pytest.approx(sum(drawn) / 10)


def test_of_a_plain_folder_nothing_is_told_unless_asked(
    store: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    words = ["prune", str(checkpoint), "--out", str(tmp_path / "rows.csv"), "--set", "prune.proportions=[0.5]"]
    assert main(words) == 0
    assert MlflowClient(store).get_experiment_by_name("checkpoints") is None
    assert main([*words[:-1], "prune.proportions=[0.5, 1]", "--mlflow", store]) == 0
    run = _run(store, "prune", "checkpoints")
    assert "mlflow.parentRunId" not in run.data.tags
    assert [step for step, _value in _steps(store, run, "pruned_accuracy")] == [1000]
    capsys.readouterr()
    assert main([*words, "--mlflow", "nonsense://x"]) == 2
    assert "not a tracking URI" in capsys.readouterr().err


def test_what_fails_leaves_no_run(store: str, checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    for words, said in (
        (["compact", "models:/digits@best", "--proportion", "2", "--out", str(tmp_path / "small")], "out of range"),
        (["robustness", "models:/digits@best", "--perturbations", "speed", "--out", str(tmp_path / "a.csv")], "sounds"),
        (["prune", f"runs:/{'0' * 32}/checkpoint", "--out", str(tmp_path / "a.csv")], "no checkpoint at runs:/000"),
    ):
        assert main([*words, "--mlflow", store]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert {one.name for one in tmp_path.iterdir()} <= {"mlflow.db", ".mlflow.db.lock", "mlartifacts", "study"}
    client = MlflowClient(store)
    (experiment,) = (one for one in client.search_experiments() if one.name == "digits")
    assert len(client.search_runs([experiment.experiment_id])) == 2
