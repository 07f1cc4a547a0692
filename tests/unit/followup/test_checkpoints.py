"""Any checkpoints, pruned and tried: folders and plain state_dicts, one table that goes on, and wrong input."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from topotune.cli import main
from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.files import read_csv
from topotune.folder import PRUNING_COLUMNS, ROBUSTNESS_COLUMNS
from topotune.followup.checkpoints import ABOUT, measure_checkpoints, prune_checkpoints
from topotune.followup.pruning import Cut, PruneJob, prune_one
from topotune.load import Checkpoints, load_checkpoint
from topotune.models.topographic import build_model
from topotune.training.fit import fit

Quick = Callable[..., TrialConfig]
Capture = pytest.CaptureFixture[str]
CUTS = [Cut(0.0), Cut(0.5), Cut(0.5, "random")]


@pytest.fixture(scope="module")
def checkpoint(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    fit(quick(epochs=3), folder)
    return folder


@pytest.fixture(scope="module")
def plain(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "weights.pth"
    torch.save(load_checkpoint(checkpoint).state_dict(), path)
    return path


def _ignore(_text: str) -> None:
    pass


def test_robustness_goes_on_where_it_was_left(checkpoint: Path, tmp_path: Path) -> None:
    given, said = Checkpoints([str(checkpoint)], tmp_path / "rows.csv"), list[str]()
    measure_checkpoints(given, ["white"], said.append)
    first = read_csv(given.out)
    assert tuple(first[0]) == (*ABOUT, *ROBUSTNESS_COLUMNS)
    measure_checkpoints(given, ["white", "pink"], said.append)
    rows = read_csv(given.out)
    assert rows[:5] == first
    assert [row["perturbation"] for row in rows] == ["white"] * 5 + ["pink"] * 5
    measure_checkpoints(given, ["pink"], said.append)
    assert said == [f"{checkpoint}: nothing to do, it is measured under pink"]
    given.out.write_text("".join(given.out.read_text().splitlines(keepends=True)[:-2]))  # within a perturbation
    measure_checkpoints(given, ["white", "pink"], said.append)
    assert read_csv(given.out) == rows


@pytest.mark.parametrize("measured", [True, False])
def test_wrong_tables(checkpoint: Path, tmp_path: Path, measured: bool) -> None:
    def work(out: Path) -> None:
        given = Checkpoints([str(checkpoint)], out)
        measure_checkpoints(given, ["pink"], _ignore) if measured else prune_checkpoints(given, CUTS, _ignore)

    out = tmp_path / "rows.csv"
    out.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="is another table, with the columns a, b"):
        work(out)
    with pytest.raises(InputError, match=r"must be a file called \.csv in a folder that there is"):
        work(tmp_path / "no" / "rows.csv")
    assert out.read_text(encoding="utf-8") == "a,b\n1,2\n"


def test_pruning_gives_a_studys_rows_and_goes_on(checkpoint: Path, tmp_path: Path) -> None:
    given, said = Checkpoints([str(checkpoint)], tmp_path / "rows.csv"), list[str]()
    prune_checkpoints(given, CUTS[:1], said.append)
    prune_checkpoints(given, CUTS, said.append)
    rows = read_csv(given.out)
    assert tuple(rows[0]) == (*ABOUT, *PRUNING_COLUMNS)
    assert [{name: row[name] for name in PRUNING_COLUMNS} for row in rows] == prune_one(
        PruneJob(checkpoint, None, tuple(CUTS))
    )
    prune_checkpoints(given, CUTS, said.append)
    assert said[-1].endswith("nothing to do, it is pruned in 3 ways")
    assert read_csv(given.out) == rows


def test_other_weights_of_the_same_settings_are_another_model(quick: Quick, plain: Path, tmp_path: Path) -> None:
    """Two state_dicts know nothing of their settings; a copy of one is the same model."""
    other, copy = tmp_path / "other.pt", tmp_path / "copy.pt"
    torch.save(build_model("small_cnn", 1, 10).state_dict(), other)
    copy.write_bytes(plain.read_bytes())
    given = Checkpoints(list(map(str, (plain, other, copy))), tmp_path / "rows.csv", settings={"dataset": "digits"})
    prune_checkpoints(given, CUTS[:2], _ignore)
    rows = read_csv(given.out)
    assert [row["checkpoint"] for row in rows] == [str(plain)] * 2 + [str(other)] * 2
    assert len({row["config_hash"] for row in rows}) == 1
    assert rows[0]["accuracy"] > 0.8 > rows[2]["accuracy"]


def test_the_commands_take_a_state_dict(checkpoint: Path, plain: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "rows.csv"
    words = ["prune", str(plain), "--out", str(out), "--set", "prune.proportions=[0, 0.5]"]
    assert main([*words, "--set", "prune.criterion=['l1']", "--set", "dataset=digits"]) == 0
    rows = read_csv(out)
    own = prune_one(PruneJob(checkpoint, None, (Cut(0.0, "l1"), Cut(0.5, "l1"))))
    assert [row["accuracy"] for row in rows] == [row["accuracy"] for row in own]
    small = ["compact", str(plain), "--proportion", "0.5", "--out", str(tmp_path / "small"), "--set", "dataset=digits"]
    assert main(small) == 0
    assert str(plain) in (tmp_path / "small" / "compact.json").read_text(encoding="utf-8")
    tried = ["robustness", str(plain), "--perturbations", "white", "--out", str(tmp_path / "tried.csv")]
    assert main([*tried, "--set", "dataset=digits"]) == 0
    assert [row["clean_accuracy"] for row in read_csv(tmp_path / "tried.csv")] == [rows[0]["accuracy"]] * 5
    # a compact network is measured as a model of its own, but not pruned again
    assert main(["robustness", str(tmp_path / "small"), "--perturbations", "white", "--out", tried[-1]]) == 0
    assert len(read_csv(tmp_path / "tried.csv")) == 10
    capsys.readouterr()
    assert main(["prune", str(tmp_path / "small"), "--out", str(out)]) == 2
    assert "is compact already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prune", "CHECKPOINT"], "give the file for its rows with --out FILE.csv"),
        (["prune", "CHECKPOINT", "--out", "OUT", "--set", "prune.proportions=[0, 1.5]"], "numbers from 0 to 1"),
        (["prune", "CHECKPOINT", "--out", "OUT", "--set", "prune.proportions=[nan]"], "numbers from 0 to 1"),
        (["prune", "CHECKPOINT", "--out", "OUT", "--set", "prune.proportions=[-0.1]"], "numbers from 0 to 1"),
        (["prune", "CHECKPOINT", "--out", "OUT", "--set", "prune.proportions=['a']"], "numbers from 0 to 1"),
        (["prune", "CHECKPOINT", "--out", "OUT", "--set", "prune.criterion=l3"], "--set: [prune] criterion = 'l3'"),
        (["prune", "CHECKPOINT", "--out", "OUT", "--set", "prune.way=l1"], "unknown key 'way'"),
        (["prune", "CHECKPOINT", "--out", "OUT", "--set", "dataset=mnist"], "has its own settings"),
        (["prune", "CHECKPOINT", "--out", "OUT", "--address", "a:1"], "are for a study"),
        (["prune", "PLAIN", "--out", "OUT"], "does not say which data it is for"),
        (["prune", "PLAIN", "--out", "OUT", "--set", "dataset=cifar10"], "is of a network for 1 and 10"),
        (["prune", "nowhere.pth", "--out", "OUT", "--set", "dataset=digits"], "nowhere.pth: no such file"),
        (["prune", "nowhere", "also"], "--out and several targets are for checkpoints"),
        (["robustness", "CHECKPOINT", "--out", "OUT", "--perturbations", ""], "unknown perturbation ''"),
        (["robustness", "CHECKPOINT", "--out", "OUT", "--perturbations", "white,"], "unknown perturbation ''"),
        (["robustness", "CHECKPOINT", "--out", "OUT", "--set", "prune.criterion=l1"], "is for topotune prune"),
        (["compact", "CHECKPOINT", "--proportion", "nan", "--out", "OUT"], "proportion nan is out of range"),
        (["compact", "nowhere", "--proportion", "0.5", "--out", "OUT"], "no checkpoint at nowhere"),
    ],
)
def test_wrong_input(
    words: list[str], said: str, checkpoint: Path, plain: Path, tmp_path: Path, capsys: Capture
) -> None:
    names = {"CHECKPOINT": str(checkpoint), "PLAIN": str(plain), "OUT": str(tmp_path / "out.csv")}
    assert main([names.get(word, word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


def test_data_of_another_network(quick: Quick, tmp_path: Path, capsys: Capture) -> None:
    """Other data under the same name: one line, and no row."""
    draw = np.random.default_rng(0)
    for name, channels, classes in (("own", 1, 3), ("colours", 3, 3), ("more", 1, 7)):
        images = draw.integers(0, 256, (60, 9, 9, channels)).astype(np.uint8)
        labels = np.arange(60) % classes
        (tmp_path / name).mkdir()
        np.savez(
            tmp_path / name / "own.npz", train_images=images, train_labels=labels, test_images=images,
            test_labels=labels,
        )  # fmt: skip
    fit(quick(dataset="own.npz", epochs=1, batch_size=16), tmp_path / "run", tmp_path / "own")
    for name, has in (("colours", "has 3 and 3"), ("more", "has 1 and 7")):
        for command in (
            ["robustness", "--perturbations", "white", "--out", "rows.csv"],
            ["prune", "--out", "rows.csv"],
            ["compact", "--proportion", "0.5", "--out", "small"],
            ["analyze", "--analyses", "dimensionality", "--out", "rows.csv"],
        ):
            words = [command[0], str(tmp_path / "run"), *command[1:-1], str(tmp_path / command[-1])]
            assert main([*words, "--data", str(tmp_path / name)]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert f"is of a network for 1 channels and 3 classes, but dataset 'own.npz' {has}" in line
    assert {one.name for one in tmp_path.iterdir()} == {"own", "colours", "more", "run"}


@pytest.mark.slow
def test_killed_in_the_middle_no_row_is_lost_or_doubled(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    proportions = [step / 100 for step in range(101)]
    command = [
        sys.executable, "-m", "topotune", "prune", str(checkpoint), "--out", str(out),
        "--set", f"prune.proportions={proportions}", "--set", "prune.criterion=['l2', 'l1', 'random']",
    ]  # fmt: skip
    root = Path(__file__).parents[3]
    for rows in (3, 60):  # killed twice, with so many rows at least
        process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(root)}, stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 120
        while len(read_csv(out)) < rows and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    interrupted = read_csv(out)
    assert 60 <= len(interrupted) < 303
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(root)}, check=True, capture_output=True)
    found = read_csv(out)
    assert found[: len(interrupted)] == interrupted
    ways = [Cut(proportion, name) for name in ("l2", "l1", "random") for proportion in proportions]
    assert [Cut.of(row) for row in found] == ways
    assert [row["accuracy"] for row in found] == [
        row["accuracy"] for row in prune_one(PruneJob(checkpoint, None, tuple(ways)))
    ]
