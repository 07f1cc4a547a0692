"""The command line's words: help, and errors in one line."""

import json
from pathlib import Path

import pytest

from topotune.cli import main

COMMANDS = ("run", "search", "confirm", "prune", "report", "plan", "studies", "show", "ui", "train")


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


def test_plan_and_studies_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = tmp_path / "a.toml"
    space.write_text("[fixed]\nepochs = 4\n[budget]\ntrials = 7\n")
    assert main(["plan", str(space), "--json", "--set", "budget.trials=3"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["study"], plan["trials"], plan["search_epochs_at_most"]) == ("a", 3, 12)
    assert main(["studies", "--studies", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_train_prints_each_epoch_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--out", str(tmp_path / "run"), "--set", "epochs=1", "--set", "threads=1"]
    assert main(words) == 0
    first = capsys.readouterr().out.splitlines()
    assert first[0].startswith("epoch 1: task loss ")
    assert first[1].startswith("best validation accuracy ")
    assert main(words) == 0  # a finished run is only read, and told again
    assert capsys.readouterr().out.splitlines() == first
    assert "holds another trial" in _error(capsys, *words, "--set", "seed=1")
