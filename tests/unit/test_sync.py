"""What waits in studies' outboxes is sent by hand: to a real store, and to one that is away."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.servers import free_port
from topotune.cli import main
from topotune.folder import StudyFolder, hold
from topotune.search.study_file import load_study, to_toml
from topotune.tracking import Tracker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of the libraries under it

Begin = Callable[[str], StudyFolder]


@pytest.fixture
def away() -> str:
    """A server that is not there."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def begin(tmp_path: Path, away: str, blank: Path) -> Begin:
    """A study whose server was away: three records wait."""
    (tmp_path / "studies").mkdir()
    shutil.copy(blank, tmp_path / "studies" / "mlflow.db")

    def make(name: str) -> StudyFolder:
        folder, space = StudyFolder(tmp_path / "studies" / name), tmp_path / f"{name}.toml"
        space.write_text("[fixed]\nepochs = 2\n")
        folder.path.mkdir(parents=True)
        folder.study_file.write_text(to_toml(load_study(space)))
        tracker = Tracker(folder.outbox, away, name, lambda _text: None)
        tracker.run("study", name, None, {"epochs": 2}, {})
        tracker.metrics("study", 1, {"x": 0.5})
        tracker.end("study")
        tracker.close()
        return folder

    return make


def _sync(tmp_path: Path, *words: str) -> int:
    return main(["sync", *words, "--studies", str(tmp_path / "studies")])


def _metrics(tmp_path: Path, name: str) -> dict[str, float]:
    client = MlflowClient(f"sqlite:///{tmp_path / 'studies' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    return dict(run.data.metrics)


def test_all_studies_are_sent_once(begin: Begin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin("one")
    begin("two")
    silent = StudyFolder(tmp_path / "studies" / "silent")  # a study that never told anything
    silent.path.mkdir()
    silent.study_file.write_text((tmp_path / "one.toml").read_text() + '[study]\nname = "silent"\n')
    assert _sync(tmp_path) == 0
    lines = ["one: 3 records sent, 0 wait", "silent: 0 records sent, 0 wait", "two: 3 records sent, 0 wait"]
    assert capsys.readouterr() == ("\n".join(lines) + "\n", "")
    assert _metrics(tmp_path, "one") == _metrics(tmp_path, "two") == {"x": 0.5}
    assert _sync(tmp_path, "two", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == [{"study": "two", "sent": 0, "waiting": 0, "problem": None, "busy": False}]
    assert _metrics(tmp_path, "two") == {"x": 0.5}


def test_a_server_that_is_away_is_one_line_and_code_1(
    begin: Begin, away: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin("one")
    begin("two")
    assert _sync(tmp_path, "--mlflow", away) == 1
    shown = capsys.readouterr()
    assert shown.out == "one: 0 records sent, 3 wait\ntwo: 0 records sent, 3 wait\n"
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith(f"topotune: error: MLflow at {away} does not take records (")
    assert "what waits is kept (3 of one, 3 of two), and the same command sends it later" in shown.err
    assert _sync(tmp_path, "one") == 0  # nothing was lost
    assert _metrics(tmp_path, "one") == {"x": 0.5}


def test_a_study_at_work_is_left_to_its_driver(
    begin: Begin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = hold(begin("one"))
    begin("two")
    try:
        assert _sync(tmp_path) == 0
        busy = "one: another process is working on it, and sends its records"
        assert capsys.readouterr() == (f"{busy}\ntwo: 3 records sent, 0 wait\n", "")
        assert _sync(tmp_path, "one") == 2
        shown = capsys.readouterr()
        assert shown.out == f"{busy}\n"
        assert shown.err == "topotune: error: one: another process is working on it, and sends its records itself\n"
        assert _sync(tmp_path, "one", "--json") == 2
        (one,) = json.loads(capsys.readouterr().out)
        assert (one["busy"], one["sent"]) == (True, 0)
    finally:
        os.close(lock)
    assert _sync(tmp_path, "one") == 0
    assert _metrics(tmp_path, "one") == {"x": 0.5}


def test_wrong_input_is_one_line_and_code_2(
    begin: Begin, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(*words: str) -> str:
        assert _sync(tmp_path, *words) == 2
        shown = capsys.readouterr()
        assert (shown.out, len(shown.err.splitlines())) == ("", 1)
        assert "s3cret" not in shown.err
        return shown.err

    assert f"no study in {tmp_path / 'studies'}" in error()
    begin("one")
    assert "no study 'none-such'" in error("none-such")
    assert "--mlflow http://name:***@h: a password on the command line" in error("--mlflow", "http://name:s3cret@h")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://name:s3cret@h")
    assert "MLFLOW_TRACKING_URI ftp://name:***@h: not a tracking URI" in error()


def test_passwords_from_the_environment_are_written_nowhere(
    begin: Begin, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin("one")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://name:s3cret@127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret2")
    assert _sync(tmp_path) == 1
    shown = capsys.readouterr()
    assert "http://name:***@127.0.0.1" in shown.err
    assert "s3cret" not in shown.out + shown.err
    for path in folder.path.rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes(), path
