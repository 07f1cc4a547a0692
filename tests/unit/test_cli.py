"""The command line's words: help, and errors in one line."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from topotune.cli import main
from topotune.commands.look import _check_free
from topotune.errors import InputError

ROOT = str(Path(__file__).resolve().parents[2])
COMMANDS = (
    "run", "search", "confirm", "report", "submit", "prune", "robustness", "analyze", "plan", "studies", "show",
    "figures", "positions", "ui", "sync", "data", "train", "compact",
)  # fmt: skip


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    listed = [line.split()[0] for line in shown.splitlines() if line.startswith("    ") and line[4] != " "]
    assert tuple(listed) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"Example: topotune {command} " in " ".join(capsys.readouterr().out.split())


def _error(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("topotune: error: ")
    return shown.err


def test_wrong_input_is_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = tmp_path / "a.toml"
    space.write_text("[fixed]\nepoch = 3\n")
    assert f"{space}: [fixed]: unknown setting 'epoch'; choose from dataset" in _error(capsys, "plan", space)
    assert "--set: weight = 'much' is not a number" in _error(
        capsys, "train", "--out", tmp_path / "x", "--set", "weight=much"
    )
    assert "--set weight: must be key=value" in _error(capsys, "train", "--out", tmp_path / "x", "--set", "weight")
    assert "no study 'none-such'" in _error(capsys, "show", "none-such", "--studies", tmp_path)
    assert "no MLflow data in" in _error(capsys, "ui", "--studies", tmp_path)
    assert "not a tracking URI" in _error(capsys, "ui", "--studies", tmp_path, "--mlflow", "ftp://x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["--mlflow", f"sqlite:///{tmp_path}/x.db", "--port", taken.getsockname()[1]]
        assert "cannot listen there" in _error(capsys, "ui", "--studies", tmp_path, *words)
    assert "--top 0: must be at least 1" in _error(capsys, "show", "any", "--studies", tmp_path, "--top", 0)


def test_one_page_of_several_studies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As they stand: these have asked, and run nothing yet."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.toml").write_text(f'[study]\nname = "{name}"\n')
    words = ["report", "a", "b", "--studies", str(tmp_path)]
    assert main(words) == 0
    assert capsys.readouterr().out == f"report:  {tmp_path / 'report.html'}\n"
    assert "<title>a and b – topotune report</title>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert main([*words, "--out", str(tmp_path / "new" / "other.html")]) == 0
    assert capsys.readouterr().out == f"report:  {tmp_path / 'new' / 'other.html'}\n"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["study.toml"]
    where = ("--studies", tmp_path)
    assert "study 'a' is named twice" in _error(capsys, "report", "a", tmp_path / "a", *where)
    assert "--set epochs=2: is for the report of one study" in _error(capsys, *words, "--set", "epochs=2")
    assert "no study 'c'" in _error(capsys, "report", "a", "c", *where)


def test_figures_say_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "study.toml").write_text('[study]\nname = "a"\n')
    where = ("--studies", tmp_path)
    assert "no study 'b'" in _error(capsys, "figures", "b", *where)
    assert "has no rows to draw yet" in _error(capsys, "figures", "a", *where)
    assert "unknown style 'x'" in _error(capsys, "figures", "a", "--style", "x", *where)
    assert "--size 1 99: width and height" in _error(capsys, "figures", "a", "--size", 1, 99, *where)
    assert not (tmp_path / "a" / "figures").exists()


def test_what_the_machine_could_not_do_is_one_line_and_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("epochs=1", "threads=1", "learning_rate=1e30", "warmup=0.0", "model=mnist_cnn", "device=cpu")
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", "--out", str(tmp_path / "run"), *words]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("topotune: error: training diverged: a loss is not finite in epoch 1 (task loss ")


def test_plan_and_studies_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = tmp_path / "a.toml"
    space.write_text("[fixed]\nepochs = 4\n[nuisance]\nmomentum = {low = 0.1, high = 0.9}\n[budget]\ntrials = 7\n")
    assert main(["plan", str(space), "--json", "--set", "budget.trials=3"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["study"], plan["trials"], plan["search_epochs_at_most"]) == ("a", 3, 12)
    assert main(["studies", "--studies", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_positions_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["positions", "line", "3", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert (one["organisation"], len(one["positions"])) == ("line", 3)
    assert main(["positions", "all", "4", "--json"]) == 0
    assert one["organisation"] in [each["organisation"] for each in json.loads(capsys.readouterr().out)]
    with pytest.raises(SystemExit) as stop:
        main(["positions", "line", "3", "--json", "--png", str(tmp_path / "a.png")])
    assert stop.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "--png: not allowed with argument --json" in shown.err


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "none-such.toml"),
        ("show", "none-such"),
        ("positions", "none-such", 3),
        ("data", "check", "none-such"),
        ("show", "none-such", "--top", 0),
    ],
)
def test_an_error_is_no_json(words: tuple[object, ...], capsys: pytest.CaptureFixture[str]) -> None:
    _error(capsys, *words, "--json")


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of them is tested where it comes up: here, and Ctrl-C and SIGTERM on real studies."""
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out.partition("Exit codes:")[2]
    assert {int(code) for code in re.findall(r"(?:^  |; )(\d+)", told, re.MULTILINE)} == {0, 1, 2, 130, 143, 141}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_says_how_it_goes_on(number: int, code: int, tmp_path: Path) -> None:
    words = ["train", "--out", "run", "--set", "epochs=500", "--set", "threads=1"]
    with subprocess.Popen(
        [sys.executable, "-m", "topotune", *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=os.environ | {"PYTHONPATH": ROOT},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().startswith("epoch 1: ")
        process.send_signal(number)
        _out, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.splitlines()[-2:] == [
        "stopped; nothing that was finished is lost. Go on with:",
        "  topotune train --out run --set epochs=500 --set threads=1",
    ]


def test_data_sets_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "digits"]) == 0
    assert capsys.readouterr().out.startswith("digits: whole\n  samples:   train 1,077 of 1,077")
    assert main(["data", "fetch", "digits", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["dataset"], found["state"]) == ("digits", "whole")
    assert "unknown dataset 'digit'" in _error(capsys, "data", "check", "digit")
    assert "unknown dataset 'digit'" in _error(capsys, "data", "fetch", "digit")


def test_train_prints_each_epoch_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--out", str(tmp_path / "run"), "--set", "epochs=1", "--set", "threads=1"]
    assert main(words) == 0
    first = capsys.readouterr().out.splitlines()
    assert first[0].startswith("epoch 1: task loss ")
    assert first[1].startswith("best validation accuracy ")
    assert main(words) == 0  # a finished run is only read, and told again
    assert capsys.readouterr().out.splitlines() == [first[0], f"{first[1]}; there was nothing to do"]
    assert "holds another trial" in _error(capsys, *words, "--set", "seed=1")


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        reason = rf"--host 127\.0\.0\.1 --port {port}: cannot listen there \(.*\); give another port"
        with pytest.raises(InputError, match=reason):
            _check_free("127.0.0.1", port)
    _check_free("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", port)):
        pass  # it was only looked at
    for wrong in (70000, 65536, 0, -1):
        with pytest.raises(InputError, match=f"--port {wrong}: must be from 1 to 65535"):
            _check_free("127.0.0.1", wrong)


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    """As in ``topotune positions grid2d 60000 | head -1``."""
    command = f"{sys.executable} -m topotune positions grid2d 60000 | head -1"
    words = ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, timeout=100, env=os.environ | {"PYTHONPATH": ROOT}
    )
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (128 + signal.SIGPIPE, 1, "")


def test_what_cannot_be_analyzed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found before torch is loaded, let alone a network."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    out = ("--out", tmp_path / "rows.csv")
    for words, message in (
        (("--analyses", "moron", *out), "--analyses: unknown analysis 'moron'; choose from all, correlation, "),
        (("--topography", "gird", *out), "--topography: unknown organisation 'gird'; choose from grid2d, "),
        (("--topography", "line,line", *out), "--topography: 'line' stands there twice"),
        (("--images", 3, *out), "--images 3: must be at least 10, or 0 for the whole test part"),
        (("--expert", 2, *out), "--expert 2: must be an AUROC, above 0.5 and at most 1"),
        ((), "is a checkpoint: give the file for its rows with --out FILE.csv"),
        (("--address", "auto", *out), "is a checkpoint: --download and --address are for a study"),
    ):
        assert message in _error(capsys, "analyze", tmp_path, *words)
    assert "no study 'nowhere'" in _error(capsys, "analyze", "nowhere", "--studies", tmp_path)
    assert "of a study, give its name alone" in _error(capsys, "analyze", "one", "two", "--studies", tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["config.json"]
