"""A compact checkpoint: written, read back, exported, and its record."""

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from topotune.cli import main
from topotune.config import TrialConfig
from topotune.data.splits import load_split
from topotune.errors import InputError
from topotune.followup.compact import CompactJob, compact_checkpoint, export_checkpoint
from topotune.followup.confirm import evaluate_checkpoint
from topotune.followup.pruning import Cut, PruneJob, prune_one
from topotune.load import load_checkpoint
from topotune.training.fit import fit

Quick = Callable[..., TrialConfig]


@pytest.fixture(scope="module")
def checkpoint(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    fit(quick(), folder)
    return folder


def test_it_is_read_back_smaller_and_as_accurate_as_the_masked_one(checkpoint: Path, tmp_path: Path) -> None:
    record = compact_checkpoint(CompactJob(checkpoint, Cut(0.62), tmp_path, coupled=True))
    assert record == json.loads((tmp_path / "compact.json").read_text())
    assert record["largest_difference"] < 1e-5
    whole, small, coupled = record["networks"]
    model = load_checkpoint(tmp_path)
    assert small["parameters"] == sum(one.numel() for one in model.parameters()) < 0.2 * whole["parameters"]
    assert coupled["parameters"] < 0.2 * whole["parameters"]
    # 3x3 kernels: 12 of 32 and 24 of 64 channels stay; the border's planes of ones; 10 classes
    assert small["multiply_adds"] == 9 * 64 * 12 + 9 * 16 * (12 + 1) * 24 + 24 * 10
    accuracy = prune_one(PruneJob(checkpoint, None, (Cut(0.62),)))[0]["accuracy"]
    assert evaluate_checkpoint(tmp_path, load_split("digits", "test")).accuracy == accuracy == small["test_accuracy"]


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # where torch reads it again
def test_export_takes_any_number_of_images(checkpoint: Path, tmp_path: Path) -> None:
    compact_checkpoint(CompactJob(checkpoint, Cut(0.5), tmp_path / "small"))
    export_checkpoint(tmp_path / "small", tmp_path / "small.pt2")
    program = torch.export.load(tmp_path / "small.pt2").module()
    model = load_checkpoint(tmp_path / "small")
    for many in (1, 7):
        images = torch.randn(many, 1, 8, 8)
        torch.testing.assert_close(program(images), model(images))
    with pytest.raises(InputError, match=r"must be called \*\.pt2 or \*\.onnx"):
        export_checkpoint(tmp_path / "small", tmp_path / "small.pth")


def test_wrong_places(checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"  # of the same settings
    shutil.copytree(checkpoint, copy)
    for out in (checkpoint, copy):
        with pytest.raises(InputError, match="holds a trained network"):
            compact_checkpoint(CompactJob(checkpoint, Cut(0.5), out))
    compact_checkpoint(CompactJob(checkpoint, Cut(0.5), tmp_path))
    with pytest.raises(InputError, match="is compact already"):
        compact_checkpoint(CompactJob(tmp_path, Cut(0.5), tmp_path / "again"))


def test_the_command(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compact", str(checkpoint), "--proportion", "0.5", "--out", str(tmp_path)]
    assert main([*words, "--criterion", "neighbour"]) == 0
    said = capsys.readouterr().out
    assert "50% of the channels by neighbour, topographic layers" in said
    assert main([*words[:-4], "--proportion", "1.5", "--out", str(tmp_path)]) == 2
    assert "proportion 1.5 is out of range" in capsys.readouterr().err
    assert main([*words, "--criterion", "l3"]) == 2
    assert "unknown criterion 'l3'" in capsys.readouterr().err


def test_onnx(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Computed by ONNX's own reference, where it is installed; where it is not, one line says what is missing."""
    words = ["compact", str(checkpoint), "--proportion", "0.5", "--out", str(tmp_path / "small"), "--json"]
    done = main([*words, "--export", str(tmp_path / "small.onnx")])
    said = capsys.readouterr()
    if any(find_spec(name) is None for name in ("onnx", "onnxscript")):
        assert done == 2
        assert ".onnx needs what is not installed here: pip install onnx" in said.err
        assert not list(tmp_path.iterdir())
        return
    assert json.loads(said.out)["proportion"] == 0.5  # the exporter says nothing there
    reference = import_module("onnx.reference").ReferenceEvaluator(str(tmp_path / "small.onnx"))
    model = load_checkpoint(tmp_path / "small")
    for many in (1, 7):
        images = torch.randn(many, 1, 8, 8)
        (found,) = reference.run(None, {reference.input_names[0]: images.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), model(images).detach())


def test_a_place_to_export_to(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compact", str(checkpoint), "--proportion", "0.5", "--out", str(tmp_path / "small"), "--export"]
    for path, said in ((tmp_path / "no" / "a.pt2", "there is no folder"), (tmp_path / "a.pth", "must be called")):
        assert main([*words, str(path)]) == 2
        assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
