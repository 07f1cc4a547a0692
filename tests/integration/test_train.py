"""``topotune train``: one network without a search, stopped and gone on with."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

import topotune
from tests.conftest import Cli
from tests.integration.support import (
    alive,
    descendants,
    end,
    interrupt,
    line_count,
    resume_words,
    rows,
    same_weights,
    snapshot,
    wait_for,
)

EPOCHS = 16
SETTINGS = {"topography": "grid2d", "weight": "0.1", "batch_size": "64", "epochs": str(EPOCHS), "threads": "1"}
WORDS = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module")
def unbroken(ray_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed; ``said`` beside it holds what it printed."""
    cli = Cli(ray_folder, tmp_path_factory.mktemp("train"))
    done = cli("train", "--out", "run", *WORDS)
    assert done.returncode == 0, done.stderr
    (cli.cwd / "said").write_text(done.stdout)
    return cli.cwd / "run"


def without_seconds(folder: Path) -> list[dict[str, str]]:
    return [{name: cell for name, cell in row.items() if name != "seconds"} for row in rows(folder / "metrics.csv")]


def test_it_leaves_what_checkpoint_py_says(unbroken: Path) -> None:
    assert set(snapshot(unbroken)) == {
        "config.json", "model.safetensors", "last/state.pt", "last/previous.pt", "metrics.csv", "result.json",
    }  # fmt: skip
    result, history = json.loads((unbroken / "result.json").read_text()), rows(unbroken / "metrics.csv")
    assert [row["epoch"] for row in history] == [str(epoch) for epoch in range(1, EPOCHS + 1)]
    accuracies = [float(row["validation_accuracy"]) for row in history]
    assert result["validation_accuracy"] == max(accuracies)
    assert result["best_epoch"] == accuracies.index(max(accuracies)) + 1
    assert max(accuracies) > 0.9
    assert float(history[-1]["topographic_loss"]) < float(history[0]["topographic_loss"])
    config = topotune.TrialConfig.from_dict(json.loads((unbroken / "config.json").read_text()))
    assert result["config_hash"] == config.hash
    assert (config.topography, config.weight, config.epochs) == ("grid2d", 0.1, EPOCHS)


def test_it_prints_every_epoch_and_the_best(unbroken: Path) -> None:
    *epochs, last = (unbroken.parent / "said").read_text().splitlines()
    assert [line.split(":")[0] for line in epochs] == [f"epoch {epoch}" for epoch in range(1, EPOCHS + 1)]
    result = json.loads((unbroken / "result.json").read_text())
    best = f"best validation accuracy {result['validation_accuracy']:.4f} in epoch {result['best_epoch']}"
    assert last == f"{best}; run"


def test_the_same_command_again_only_reads(cli: Cli, unbroken: Path) -> None:
    before, started = snapshot(unbroken), time.monotonic()
    again = cli("train", "--out", unbroken, *WORDS)
    assert again.returncode == 0, again.stderr
    said = (unbroken.parent / "said").read_text().splitlines()
    assert again.stdout.splitlines()[:-1] == said[:-1]
    assert snapshot(unbroken) == before
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_after_ctrl_c_it_goes_on_to_the_same_weights(cli: Cli, unbroken: Path) -> None:
    out = cli.cwd / "run"
    process = cli.start("train", "--out", "run", *WORDS)
    wait_for(lambda: line_count(out / "metrics.csv") > 3, 60, "3 epochs", process)
    said, errors = interrupt(process)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "nothing that was finished is lost" in errors
    kept = rows(out / "metrics.csv")
    assert 3 <= len(kept) < EPOCHS
    assert len(said.splitlines()) <= len(kept)
    assert not (out / "result.json").exists()
    words = resume_words(errors)
    assert words == ["train", "--out", "run", *WORDS]
    again = cli(*words)
    assert again.returncode == 0, again.stderr
    # with their seconds: none was trained again but the last, whose state may not have been written yet
    assert rows(out / "metrics.csv")[: len(kept) - 1] == kept[:-1]
    assert without_seconds(out) == without_seconds(unbroken)
    assert same_weights(topotune.load_checkpoint(out), topotune.load_checkpoint(unbroken))


@pytest.mark.slow
def test_two_workers_stopped_and_gone_on_with_give_the_same_weights(cli: Cli) -> None:
    words = [*WORDS, "--set", "workers=2"]
    whole = cli("train", "--out", "whole", *words)
    assert whole.returncode == 0, whole.stderr
    assert float(rows(cli.cwd / "whole" / "metrics.csv")[-1]["validation_accuracy"]) > 0.9
    process = cli.start("train", "--out", "broken", *words)
    wait_for(lambda: line_count(cli.cwd / "broken" / "metrics.csv") > 3, 90, "3 epochs", process)
    _, errors = interrupt(process)
    assert process.returncode == 130
    assert "Traceback" not in errors
    again = cli(*resume_words(errors))
    assert again.returncode == 0, again.stderr
    assert without_seconds(cli.cwd / "broken") == without_seconds(cli.cwd / "whole")
    one, other = (topotune.load_checkpoint(cli.cwd / name) for name in ("whole", "broken"))
    assert same_weights(one, other)


@pytest.mark.slow
def test_after_sigterm_it_goes_on_to_the_same_weights(cli: Cli, unbroken: Path) -> None:
    """As schedulers and clouds send it: to the one process."""
    out = cli.cwd / "run"
    process = cli.start("train", "--out", "run", *WORDS)
    wait_for(lambda: line_count(out / "metrics.csv") > 3, 60, "3 epochs", process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in errors
    assert "nothing that was finished is lost. Go on with:" in errors
    kept = rows(out / "metrics.csv")
    assert 3 <= len(kept) < EPOCHS
    assert not (out / "result.json").exists()
    words = resume_words(errors)
    assert words == ["train", "--out", "run", *WORDS]
    again = cli(*words)
    assert again.returncode == 0, again.stderr
    assert rows(out / "metrics.csv")[: len(kept) - 1] == kept[:-1]
    assert without_seconds(out) == without_seconds(unbroken)
    assert same_weights(topotune.load_checkpoint(out), topotune.load_checkpoint(unbroken))


LONG = [*WORDS, "--set", "workers=2", "--set", "epochs=30"]


@pytest.fixture(scope="module")
def unbroken_pair(ray_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two ranks that nothing disturbed."""
    cli = Cli(ray_folder, tmp_path_factory.mktemp("pair"))
    done = cli("train", "--out", "run", *LONG)
    assert done.returncode == 0, done.stderr
    return cli.cwd / "run"


@pytest.mark.slow
@pytest.mark.parametrize("everyone", [False, True])
def test_two_workers_end_with_the_process_that_gets_sigterm(everyone: bool, cli: Cli, unbroken_pair: Path) -> None:
    """Whether the ranks get it, too, or not: none of them stays, and the same command goes on to the same bits."""
    process = cli.start("train", "--out", "broken", *LONG)
    wait_for(lambda: line_count(cli.cwd / "broken" / "metrics.csv") > 3, 90, "3 epochs", process)
    ranks = descendants(process)
    assert len(ranks) >= 2
    if everyone:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.send_signal(signal.SIGTERM)
    try:
        _, errors = process.communicate(timeout=60)
        wait_for(lambda: not alive(ranks), 10, "the end of the ranks")
    finally:
        end(ranks)
    assert process.returncode == 143, errors
    assert "Traceback" not in errors
    assert 3 <= len(rows(cli.cwd / "broken" / "metrics.csv")) < 30
    assert not (cli.cwd / "broken" / "result.json").exists()
    again = cli(*resume_words(errors))
    assert again.returncode == 0, again.stderr
    assert without_seconds(cli.cwd / "broken") == without_seconds(unbroken_pair)
    one, other = (topotune.load_checkpoint(folder) for folder in (cli.cwd / "broken", unbroken_pair))
    assert same_weights(one, other)
