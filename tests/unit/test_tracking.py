"""What MLflow is told, read back from real stores: a SQLite file, and a server that comes and goes."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient

from tests.servers import MlflowServer, free_port
from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.load import load_checkpoint
from topotune.tracking import ALIAS, Tracker, check_store, default_store, shown, ui_command
from topotune.training.fit import fit

Quick = Callable[..., TrialConfig]

# MLflow's own, of the libraries under it
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def store(blank: Path, tmp_path: Path) -> str:
    shutil.copy(blank, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def warnings() -> list[str]:
    """What the tracker had to say."""
    return []


@pytest.fixture
def track(store: str, tmp_path: Path, warnings: list[str]) -> Callable[..., Tracker]:
    """Opens a tracker on the study's own folder."""
    return lambda uri=store: Tracker(tmp_path / "outbox", uri, "digits", warnings.append)


def _runs(store: str) -> dict[str, Run]:
    """All runs by our keys; each key once."""
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
    keys = [run.data.tags["topotune.key"] for run in runs]
    assert len(set(keys)) == len(keys), "a run is there twice"
    return dict(zip(keys, runs, strict=True))


def _history(store: str, run: Run, name: str) -> list[tuple[int, float, int]]:
    found = MlflowClient(store).get_metric_history(run.info.run_id, name)
    return sorted((one.step, one.value, one.timestamp) for one in found)


def _tell(tracker: Tracker, artifact: Path) -> None:
    """A small study: one trial with three epochs and one without, a follow-up of the first."""
    tracker.run("study", "digits", None, {"budget.trials": 2}, {"study": "digits", "commit": None})
    tracker.run("trial/0", "circle λ=0.1", "study", {"weight": 0.1, "topography": "circle"}, {"stage": "search"})
    for epoch in (1, 2, 3):
        tracker.metrics("trial/0", epoch, {"loss": 1 / epoch, "accuracy": 0.25 * epoch}, at=1000.0 + epoch)
    tracker.run("trial/1", "none", "study", {"weight": 0.0}, {})
    tracker.end("trial/1", "FAILED", {"reason": "diverged"})
    tracker.artifact("trial/0", artifact, "checkpoint")
    tracker.end("trial/0")
    tracker.run("confirm/a", "circle seed=1", "trial/0", {}, {"stage": "confirm"})
    tracker.end("confirm/a", "KILLED")
    tracker.end("study")


def _check(store: str) -> None:
    """All of ``_tell`` is there, once."""
    runs = _runs(store)
    assert set(runs) == {"study", "trial/0", "trial/1", "confirm/a"}
    parents = {key: run.data.tags.get("mlflow.parentRunId") for key, run in runs.items()}
    ids = {key: run.info.run_id for key, run in runs.items()}
    assert parents == {
        "study": None, "trial/0": ids["study"], "trial/1": ids["study"], "confirm/a": ids["trial/0"],
    }  # fmt: skip
    assert runs["trial/0"].data.params == {"weight": "0.1", "topography": "circle"}
    assert runs["study"].data.params == {"budget.trials": "2"}
    assert runs["trial/0"].data.tags["stage"] == "search"
    assert runs["trial/1"].data.tags["reason"] == "diverged"
    assert "commit" not in runs["study"].data.tags
    assert {key: run.info.run_name for key, run in runs.items()} == {
        "study": "digits", "trial/0": "circle λ=0.1", "trial/1": "none", "confirm/a": "circle seed=1",
    }  # fmt: skip
    assert {key: run.info.status for key, run in runs.items()} == {
        "study": "FINISHED", "trial/0": "FINISHED", "trial/1": "FAILED", "confirm/a": "KILLED",
    }  # fmt: skip
    assert _history(store, runs["trial/0"], "accuracy") == [(1, 0.25, 1001000), (2, 0.5, 1002000), (3, 0.75, 1003000)]
    assert _history(store, runs["trial/0"], "loss") == [(1, 1.0, 1001000), (2, 0.5, 1002000), (3, 1 / 3, 1003000)]
    client = MlflowClient(store)
    assert [one.path for one in client.list_artifacts(ids["trial/0"], "checkpoint")] == ["checkpoint/config.json"]


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text("{}")
    return path


def test_runs_metrics_and_artifacts_arrive(
    track: Callable[..., Tracker], store: str, artifact: Path, warnings: list[str], tmp_path: Path
) -> None:
    tracker = track()
    _tell(tracker, artifact)
    tracker.close()
    assert warnings == []
    _check(store)
    assert (tmp_path / "mlartifacts" / "digits").is_dir()  # beside the database
    track().close()  # nothing is left to send
    _check(store)


def test_going_on_with_a_run_opens_it_again(track: Callable[..., Tracker], store: str, warnings: list[str]) -> None:
    tracker = track()
    tracker.run("study", "digits", None, {"a": 1}, {})
    tracker.end("study", "KILLED")
    tracker.close()
    assert _runs(store)["study"].info.status == "KILLED"
    tracker = track()
    tracker.run("study", "digits", None, {"a": 2}, {})  # a study whose budget was raised
    tracker.metrics("study", 1, {"x": 1.0})
    tracker.close()
    run = _runs(store)["study"]
    assert (run.info.status, run.data.params, run.data.metrics) == ("RUNNING", {"a": "1"}, {"x": 1.0})
    assert warnings == []


def test_a_killed_sender_sends_nothing_twice_and_forgets_nothing(
    track: Callable[..., Tracker], store: str, artifact: Path, warnings: list[str], tmp_path: Path
) -> None:
    """Whatever note of its progress is left, from none at all to all but the last record."""
    tracker = track()
    _tell(tracker, artifact)
    tracker.close()
    (note,) = (tmp_path / "outbox").glob("sent-*.json")
    known = json.loads(note.read_text())["runs"]
    offset, runs = 0, dict[str, str]()
    note.unlink()
    for line in (tmp_path / "outbox" / "outbox.jsonl").read_bytes().splitlines(keepends=True):
        track().close()
        _check(store)
        record = json.loads(line)
        if record["kind"] == "run":
            runs[record["key"]] = known[record["key"]]
        offset += len(line)
        note.write_text(json.dumps({"offset": offset, "runs": runs}))
    assert warnings == []


def test_a_sender_killed_between_a_run_and_its_params(
    track: Callable[..., Tracker], store: str, warnings: list[str], tmp_path: Path
) -> None:
    client = MlflowClient(store)
    experiment = client.create_experiment("digits", artifact_location=(tmp_path / "a").as_uri())
    tags = {"topotune.key": "study", "topotune.uid": "0123"}
    begun = client.create_run(experiment, tags=tags, run_name="digits").info.run_id
    outbox = tmp_path / "outbox" / "outbox.jsonl"
    outbox.parent.mkdir()
    (outbox.parent / "uid").write_text("0123")
    record = {
        "kind": "run",
        "key": "study",
        "time": 1,
        "name": "digits",
        "parent": None,
        "params": {"a": 1},
        "tags": {},
    }
    outbox.write_text(json.dumps(record) + "\n")
    track().close()
    assert warnings == []
    run = _runs(store)["study"]
    assert (run.info.run_id, run.data.params) == (begun, {"a": "1"})


def test_a_study_of_the_same_name_elsewhere_is_another(
    track: Callable[..., Tracker], store: str, artifact: Path, warnings: list[str], tmp_path: Path
) -> None:
    """Two folders, one experiment on one store: neither takes up the other's runs, whatever was noted."""
    for _ in range(2):  # the second time, nothing is known of what was sent
        for name in ("outbox", "elsewhere"):
            tracker = Tracker(tmp_path / name, store, "digits", warnings.append)
            if not (tmp_path / name / "outbox.jsonl").read_bytes():
                _tell(tracker, artifact)
            tracker.close()
            (note,) = (tmp_path / name).glob("sent-*.json")
            note.unlink()
    assert warnings == []
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    owners: dict[str, list[str]] = {}
    for run in runs:
        owners.setdefault(run.data.tags["topotune.uid"], []).append(run.data.tags["topotune.key"])
    assert set(owners) == {(tmp_path / name / "uid").read_text() for name in ("outbox", "elsewhere")}
    assert len(owners) == 2
    for keys in owners.values():
        assert sorted(keys) == ["confirm/a", "study", "trial/0", "trial/1"]


def test_damaged_lines_are_left_out_once_and_the_rest_arrives(
    track: Callable[..., Tracker], store: str, artifact: Path, warnings: list[str], tmp_path: Path
) -> None:
    outbox = tmp_path / "whole"
    outbox.mkdir()
    tracker = Tracker(outbox, f"sqlite:///{tmp_path / 'other.db'}", "digits", lambda _text: None)
    _tell(tracker, artifact)
    tracker.close(patience=0)
    lines = (outbox / "outbox.jsonl").read_bytes().splitlines(keepends=True)
    other = b'{"kind": "of a later version", "key": "study", "time": 1}\n'
    damaged = [b"\0\0\0\n", b'{"kind": "metr\n', b"\xff\n", b"[1]\n", b'{"kind": "metrics", "key": "study"}\n', other]
    (tmp_path / "outbox").mkdir()
    # before the first, between metrics of one run, and after the last
    whole = [damaged[0], *lines[:3], damaged[1], lines[3], damaged[2], *lines[4:], *damaged[3:]]
    (tmp_path / "outbox" / "outbox.jsonl").write_bytes(b"".join(whole))
    tracker = track()
    tracker.metrics("trial/0", 4, {"extra": 5.0}, at=7.0)
    tracker.close()
    assert len(warnings) == 6
    for line, warning in zip(damaged, warnings, strict=True):
        assert f"a damaged line of {tmp_path / 'outbox' / 'outbox.jsonl'} is left out: {line[:60]!r}" in warning
    _check(store)
    track().close()
    track().close()
    assert len(warnings) == 6
    _check(store)


def test_an_outbox_begun_anew_is_sent_from_its_start(
    track: Callable[..., Tracker], store: str, artifact: Path, warnings: list[str], tmp_path: Path
) -> None:
    tracker = track()
    _tell(tracker, artifact)
    tracker.close()
    (tmp_path / "outbox" / "outbox.jsonl").unlink()
    tracker = track()
    tracker.run("study", "digits", None, {}, {})
    tracker.metrics("study", 1, {"late": 2.0})
    tracker.end("study")
    tracker.close()
    assert warnings == []
    _check(store)
    assert _runs(store)["study"].data.metrics == {"late": 2.0}


def test_a_deleted_experiment_comes_back(
    track: Callable[..., Tracker], store: str, artifact: Path, warnings: list[str]
) -> None:
    tracker = track()
    _tell(tracker, artifact)
    tracker.close()
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    tracker = track()
    tracker.metrics("study", 1, {"late": 2.0})
    tracker.close()
    assert warnings == []
    again = client.get_experiment_by_name("digits")
    assert again is not None
    assert (again.experiment_id, again.lifecycle_stage) == (experiment.experiment_id, "active")
    assert _runs(store)["study"].data.metrics == {"late": 2.0}
    _check(store)


def test_half_a_line_is_cut_off(
    track: Callable[..., Tracker], store: str, artifact: Path, warnings: list[str], tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox" / "outbox.jsonl"
    outbox.parent.mkdir()
    outbox.write_text('{"kind": "run", "key": "ghost", "ti')
    tracker = track()
    _tell(tracker, artifact)
    tracker.close()
    with outbox.open("a") as file:
        file.write('{"kind": "metrics", "key": "trial/0", "time": 5, "step": 9, "values": {"loss"')
    tracker = track()
    tracker.metrics("trial/0", 4, {"extra": 5.0}, at=7.0)
    tracker.close()
    assert warnings == []
    _check(store)
    assert _history(store, _runs(store)["trial/0"], "extra") == [(4, 5.0, 7000)]
    assert all(json.loads(line) for line in outbox.read_text().splitlines())


def test_what_the_store_refuses_is_left_out_and_the_rest_arrives(
    track: Callable[..., Tracker], store: str, warnings: list[str], tmp_path: Path
) -> None:
    tracker = track()
    tracker.run("study", "digits", None, {"good": 1}, {})
    tracker.metrics("study", 1, {"fine": 1.0})
    tracker.end("study", "FINISHED")
    tracker.metrics("study", 1, {"not; allowed = \n": 1.0})
    tracker.artifact("study", tmp_path / "missing.txt")
    tracker.metrics("nobody", 1, {"x": 1.0})
    tracker.run("child", "child", "nobody", {}, {})
    tracker.run("trial/0", "trial", "study", {"k" * 300: 1}, {})
    tracker.end("trial/0", "FAILED")
    tracker.metrics("study", 2, {"fine": 2.0})
    tracker.close()
    assert [one for one in warnings if "it is left out" not in one] == []
    assert len(warnings) == 5
    assert "a record of study" in warnings[0]
    assert "missing.txt" in warnings[1]
    assert "nobody" in warnings[2]
    runs = _runs(store)
    assert set(runs) == {"study", "trial/0"}
    assert runs["trial/0"].info.status == "FAILED"
    assert runs["study"].data.metrics == {"fine": 2.0}
    again = len(warnings)
    track().close()  # what was left out stays so
    assert len(warnings) == again


def test_one_refused_metric_takes_no_other_with_it(
    track: Callable[..., Tracker], store: str, warnings: list[str]
) -> None:
    """Metrics of one run are sent together; they are refused one by one."""
    tracker = track()
    tracker.run("study", "digits", None, {}, {})
    for step in range(5):
        tracker.metrics("study", step, {"fine": 1.0} if step != 2 else {"not; allowed \n": 1.0})
    tracker.close()
    assert len(warnings) == 1
    assert [step for step, _value, _time in _history(store, _runs(store)["study"], "fine")] == [0, 1, 3, 4]


def test_many_metrics_and_odd_values(track: Callable[..., Tracker], store: str, warnings: list[str]) -> None:
    """More than a request takes; values that are no finite numbers are kept as MLflow keeps them."""
    tracker = track()
    tracker.run("study", "digits", None, {}, {})
    for step in range(1100):
        tracker.metrics("study", step, {"a": step, "b": -step}, at=1.0 + step)
    tracker.metrics("study", 0, {"nan": float("nan"), "inf": float("inf")})
    tracker.close()
    assert warnings == []
    run = _runs(store)["study"]
    assert [value for _step, value, _at in _history(store, run, "a")] == [float(step) for step in range(1100)]
    assert run.data.metrics["nan"] != run.data.metrics["nan"]
    assert run.data.metrics["inf"] > 1e300


def test_a_store_that_is_away_slows_and_breaks_nothing(
    track: Callable[..., Tracker], store: str, artifact: Path, warnings: list[str], tmp_path: Path
) -> None:
    started = time.monotonic()
    tracker = track(f"http://name:s3cret@127.0.0.1:{free_port()}")
    _tell(tracker, artifact)
    told = time.monotonic() - started
    tracker.close(patience=20)
    assert told < 1
    assert time.monotonic() - started < 25
    assert len(warnings) == 2
    assert "does not take records" in warnings[0]
    assert str(tmp_path / "outbox" / "outbox.jsonl") in warnings[0]
    assert "name:***@127.0.0.1" in warnings[0]
    assert "s3cret" not in "".join(warnings)
    waiting = f"12 records wait in {tmp_path / 'outbox' / 'outbox.jsonl'}; they are sent when the study is next worked"
    assert warnings[1].startswith(waiting)
    assert len((tmp_path / "outbox" / "outbox.jsonl").read_text().splitlines()) == 12
    # pointed at another store, everything is sent there from the start
    track(store).close()
    _check(store)
    assert len(warnings) == 2


@pytest.mark.parametrize(
    ("uri", "visible"),
    [
        ("http://u:p4ss@h:1/x", "http://u:***@h:1/x"),
        ("postgresql+psycopg2://u:p4ss@h/db", "postgresql+psycopg2://u:***@h/db"),
        (
            "postgresql://h/db?user=u&password=p4ss&sslmode=require",
            "postgresql://h/db?user=u&password=***&sslmode=require",
        ),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("http://h:1", "http://h:1"),
        ("http://u@h:1", "http://u@h:1"),
    ],
)
def test_passwords_are_not_shown(uri: str, visible: str) -> None:
    assert shown(uri) == visible
    assert check_store(uri, "MLFLOW_TRACKING_URI") == uri
    if uri == visible:
        assert check_store(uri) == uri
        return
    with pytest.raises(InputError, match="a password on the command line stays in logs") as error:
        check_store(uri)
    assert f"--mlflow {visible}: " in str(error.value)
    assert "p4ss" not in str(error.value)
    for instead in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD", "MLFLOW_TRACKING_URI"):
        assert instead in str(error.value)


@pytest.mark.parametrize("uri", ["ftp://u:p4ss@h", "mlruns", "file:///tmp/x", "/tmp/x.db", "", "http://["])
def test_what_is_no_store_is_named(uri: str) -> None:
    with pytest.raises(
        InputError, match=r"not a tracking URI(; it must begin with one of sqlite, http| \(Invalid IPv6 URL\))"
    ) as error:
        check_store(uri)
    assert "p4ss" not in str(error.value)


def test_default_store_and_its_pages(tmp_path: Path) -> None:
    assert default_store(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    command = ui_command("127.0.0.1", 5001)
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    assert command[command.index("--port") + 1] == "5001"
    assert command[command.index("--host") + 1] == "127.0.0.1"


def test_a_checkpoint_comes_back_from_the_store(
    track: Callable[..., Tracker], store: str, quick: Quick, tmp_path: Path
) -> None:
    fit(quick(epochs=1), tmp_path / "run")
    tracker = track()
    tracker.run("trial/0", "trial", None, {}, {})
    for name in ("config.json", "model.safetensors"):
        tracker.artifact("trial/0", tmp_path / "run" / name, "checkpoint")
    tracker.close()
    run = _runs(store)["trial/0"].info.run_id
    model, theirs = load_checkpoint(tmp_path / "run"), load_checkpoint(f"runs:/{run}/checkpoint", store)
    for name, value in model.state_dict().items():
        assert value.equal(theirs.state_dict()[name])
    with pytest.raises(InputError, match=f"no checkpoint at runs:/{'0' * 32}/checkpoint"):
        load_checkpoint(f"runs:/{'0' * 32}/checkpoint", store)


@pytest.fixture
def server(store: str, tmp_path: Path) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path, store)
    yield server
    server.stop()


def _confirmed(tracker: Tracker, key: str, checkpoint: Path) -> None:
    """A confirmed model, as the stage tells of it."""
    tracker.run(key, key, None, {}, {"stage": "confirm"})
    for file in sorted(checkpoint.iterdir()):
        if file.is_file():
            tracker.artifact(key, file, "checkpoint")
    tracker.end(key)
    tags = {"study": "digits", "config_hash": key[-1], "test_accuracy": 0.5, "nothing": None}
    tracker.best(key, "digits", "checkpoint", tags)


def _versions(store: str) -> dict[str, tuple[str, dict[str, str]]]:
    """The versions of model ``digits``: the run's key, and the tags."""
    keys = {run.info.run_id: key for key, run in _runs(store).items()}
    found = MlflowClient(store).search_model_versions("name = 'digits'")
    return {str(one.version): (keys[one.run_id], one.tags) for one in found}


def _best(store: str) -> str:
    return str(MlflowClient(store).get_model_version_by_alias("digits", ALIAS).version)


def _check_best_model(track: Callable[..., Tracker], store: str, quick: Quick, folder: Path) -> None:
    """Told of once or again, moved to another checkpoint and back: one version a checkpoint, the alias on the last."""
    for seed in (1, 2):
        fit(quick(epochs=1, seed=seed), folder / f"seed{seed}")
    tracker = track(store)
    _confirmed(tracker, "confirm/1", folder / "seed1")
    tracker.best("confirm/1", "digits", "checkpoint", {})
    tracker.close()
    expected = {"study": "digits", "config_hash": "1", "test_accuracy": "0.5"}
    assert (_versions(store), _best(store)) == ({"1": ("confirm/1", expected)}, "1")
    tracker = track(store)
    _confirmed(tracker, "confirm/2", folder / "seed2")
    tracker.close()
    assert _versions(store) == {"1": ("confirm/1", expected), "2": ("confirm/2", expected | {"config_hash": "2"})}
    assert _best(store) == "2"
    for uri, seed in (("models:/digits@best", 2), ("models:/digits/1", 1)):
        model, theirs = load_checkpoint(folder / f"seed{seed}"), load_checkpoint(uri, store)
        for name, value in model.state_dict().items():
            assert value.equal(theirs.state_dict()[name])
    with pytest.raises(InputError, match="no checkpoint at models:/digits@worst"):
        load_checkpoint("models:/digits@worst", store)
    # a killed driver: all of it again, from the first record
    (note,) = (folder / "outbox").glob("sent-*.json")
    note.unlink()
    tracker = track(store)
    tracker.best("confirm/1", "digits", "checkpoint", {})
    tracker.close()
    assert set(_versions(store)) == {"1", "2"}
    assert _best(store) == "1"


@pytest.mark.filterwarnings("ignore::FutureWarning")  # MLflow's own
def test_the_best_model_is_registered_once_and_its_alias_moves(
    track: Callable[..., Tracker], store: str, quick: Quick, warnings: list[str], tmp_path: Path
) -> None:
    _check_best_model(track, store, quick, tmp_path)
    assert warnings == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # MLflow's own
def test_the_best_model_is_registered_with_a_server(
    track: Callable[..., Tracker], server: MlflowServer, quick: Quick, warnings: list[str], tmp_path: Path
) -> None:
    server.start()
    _check_best_model(track, server.uri, quick, tmp_path)
    assert warnings == []


def test_a_best_model_whose_run_was_refused_is_left_out(
    track: Callable[..., Tracker], warnings: list[str], store: str
) -> None:
    tracker = track()
    tracker.best("confirm/none", "digits", "checkpoint", {})
    tracker.run("study", "digits", None, {}, {})
    tracker.close()
    assert len(warnings) == 1
    assert "a record of confirm/none cannot be sent" in warnings[0]
    assert MlflowClient(store).search_registered_models() == []
    assert set(_runs(store)) == {"study"}


OPEN = """
import sys
from pathlib import Path
from topotune.tracking import Tracker
folder, store = Path(sys.argv[1]), sys.argv[2]
tracker = Tracker(folder, store, folder.name, lambda text: sys.exit(print(text)))
tracker.run("study", folder.name, None, {}, {})
tracker.close(200)
"""


@pytest.mark.slow
def test_studies_that_begin_at_the_same_time_share_a_new_sqlite_file(tmp_path: Path) -> None:
    """MLflow alone leaves the file broken for good when two processes make its tables at a time."""
    store = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    names = [f"study-{number}" for number in range(4)]
    words = [[sys.executable, "-W", "ignore", "-c", OPEN, str(tmp_path / name), store] for name in names]
    processes = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for one in words]
    said = [process.communicate(timeout=250)[0] for process in processes]
    assert said == [""] * 4
    assert {one.name for one in MlflowClient(store).search_experiments()} == {"Default", *names}


DIE = """
import os
import sys
from pathlib import Path

from sqlalchemy import Engine, event

from topotune.tracking import Tracker


@event.listens_for(Engine, "before_cursor_execute")
def die(connection, cursor, statement, *others):
    if statement.startswith("INSERT INTO _alembic_tmp"):
        os.kill(os.getpid(), 9)


tracker = Tracker(Path(sys.argv[1]), sys.argv[2], "digits", print)
tracker.run("study", "digits", None, {}, {})
tracker.close()
"""


@pytest.mark.slow
def test_a_process_killed_while_it_makes_the_sqlite_file_leaves_nothing_broken(
    tmp_path: Path, warnings: list[str]
) -> None:
    """MLflow alone finds the half of a migration there and gives up for good."""
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    words = [sys.executable, "-W", "ignore", "-c", DIE, str(tmp_path / "outbox"), store]
    assert subprocess.run(words, timeout=250).returncode == -9
    Tracker(tmp_path / "outbox", store, "digits", warnings.append).close()
    assert warnings == []
    assert set(_runs(store)) == {"study"}
    assert not list(tmp_path.glob(".mlflow.db.new*"))


@pytest.mark.slow
def test_a_server_that_comes_goes_and_comes_back(
    track: Callable[..., Tracker],
    server: MlflowServer,
    artifact: Path,
    warnings: list[str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    track(server.uri).close()  # nothing to say yet, and nobody to say it to
    assert warnings == []
    tracker = track(server.uri)
    tracker.run("early", "early", None, {"a": 1}, {})
    tracker.close(patience=20)
    assert len(warnings) == 2
    assert "does not take records" in warnings[0]
    assert warnings[1].startswith("1 records wait in ")
    server.start()
    tracker = track(server.uri)
    tracker.metrics("early", 1, {"x": 1.0})
    tracker.close()
    assert len(warnings) == 2
    run = _runs(server.uri)["early"]
    assert (run.data.params, run.data.metrics) == ({"a": "1"}, {"x": 1.0})

    tracker = track(server.uri)
    tracker.end("early")
    for _ in range(100):  # while it is open, records go out by themselves
        if _runs(server.uri)["early"].info.status == "FINISHED":
            break
        time.sleep(0.1)
    assert _runs(server.uri)["early"].info.status == "FINISHED"
    server.stop()
    _tell(tracker, artifact)
    tracker.close(patience=30)
    assert len(warnings) == 4
    assert "does not take records" in warnings[2]
    assert warnings[3].startswith("12 records wait in ")
    server.start()
    track(server.uri).close()
    assert len(warnings) == 4
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    client.delete_run(_runs(server.uri)["early"].info.run_id)
    _check(server.uri)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")  # but for the warnings
    assert caplog.records == []
