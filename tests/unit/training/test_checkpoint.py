"""Trained networks on disk: read back whole, and refused in words when damaged, foreign or dangerous."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from topotune.config import TrialConfig
from topotune.data.batches import evaluation_batches
from topotune.data.splits import load_split
from topotune.errors import InputError
from topotune.load import load_checkpoint
from topotune.training.checkpoint import load_state, save_state
from topotune.training.fit import fit
from topotune.training.loop import Precision, evaluate

Quick = Callable[..., TrialConfig]


@pytest.fixture(scope="module")
def trained(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("trained")
    return out, fit(quick(epochs=3), out)


@pytest.fixture
def folder(trained: Any, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(trained[0], tmp_path / "run"))


def test_a_checkpoint_is_the_best_epochs_network(trained: Any) -> None:
    out, result = trained
    model = load_checkpoint(out)
    assert not model.training
    parts = evaluation_batches(load_split("digits", "validation"))
    found = evaluate(model, parts, Precision(torch.device("cpu"), bfloat16=False))
    best = result.history[result.best_epoch - 1]
    assert found.accuracy == result.validation_accuracy == best.validation_accuracy
    assert found.loss == pytest.approx(best.validation_loss, rel=1e-6)


def test_a_checkpoint_says_what_it_is(trained: Any, quick: Quick) -> None:
    out, _result = trained
    with safe_open(out / "model.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["topotune"])
    assert header == {"model": "small_cnn", "in_channels": 1, "classes": 10, "config_hash": quick(epochs=3).hash}
    assert set(load_file(out / "model.safetensors")) == set(load_checkpoint(str(out)).state_dict())


def test_loading_leaves_the_global_generator_alone(trained: Any) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_checkpoint(trained[0])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("size", [0, 4, 8, 100, 0.5, -1])
def test_truncated_weights_are_named(size: float, folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.stat().st_size
    os.truncate(path, int(size * whole) if 0 < size < 1 else size % whole)
    with pytest.raises(InputError, match="is truncated or no safetensors file") as error:
        load_checkpoint(folder)
    assert str(path) in str(error.value)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no checkpoint at {tmp_path / 'nowhere'}"):
        load_checkpoint(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing: the folder holds no trained model"):
        load_checkpoint(folder)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        load_checkpoint(folder)


@pytest.mark.parametrize("changes", [{"model": "mnist_cnn"}, {"seed": 3}])
def test_a_foreign_config_is_named(changes: dict[str, Any], folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match="the two do not belong together") as error:
        load_checkpoint(folder)
    assert str(path) in str(error.value)
    assert str(folder / "model.safetensors") in str(error.value)


@pytest.mark.parametrize("header", [None, {"model": "small_cnn"}, {"topotune": '{"model": "small_cnn"}'}])
def test_weights_of_others_are_named(header: dict[str, str] | None, folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path), path, header)
    with pytest.raises(InputError, match=r"model\.safetensors holds model .* of trial None"):
        load_checkpoint(folder)


@pytest.mark.parametrize("change", ["missing", "shape", "extra"])
def test_weights_that_do_not_fit_are_named(change: str, folder: Path) -> None:
    path = folder / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(path)
    if change == "missing":
        del tensors["fc.bias"]
    elif change == "shape":
        tensors["fc.bias"] = torch.zeros(3)
    else:
        tensors["fc2.bias"] = torch.zeros(3)
    save_file(tensors, path, header)
    with pytest.raises(InputError, match="does not fit model 'small_cnn'") as error:
        load_checkpoint(folder)
    assert str(path) in str(error.value)


def test_state_comes_back(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    state = {"epoch": 3, "model": {"a": torch.arange(3.0)}, "history": [{"loss": 0.5}]}
    save_state(tmp_path, state)
    again = load_state(tmp_path)
    assert again is not None
    assert torch.equal(again["model"].pop("a"), state["model"].pop("a"))  # type: ignore[attr-defined]
    assert again == state
    assert os.listdir(tmp_path / "last") == ["state.pt"]


def test_state_that_is_cut_anywhere_is_named(tmp_path: Path) -> None:
    save_state(tmp_path, {"epoch": 1, "model": {"a": torch.arange(100.0)}})
    path = tmp_path / "last" / "state.pt"
    content = path.read_bytes()
    for size in (*range(0, 64, 3), *range(64, len(content), 97), len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"delete .*last to train this trial from its start") as error:
            load_state(tmp_path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"\x80", b"PK\x03\x04", b"hello", b"\x80\x02}q\x00.", os.urandom(64)])
def test_state_that_is_something_else_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "last" / "state.pt"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"delete .*last to train this trial from its start") as error:
        load_state(tmp_path)
    assert str(path) in str(error.value)


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_state_that_is_code_is_not_run(quick: Quick, tmp_path: Path) -> None:
    path = tmp_path / "run" / "last" / "state.pt"
    path.parent.mkdir(parents=True)
    torch.save({"epoch": 1, "model": _Bomb(tmp_path / "went-off")}, path)
    with pytest.raises(InputError, match="is damaged, or holds more than tensors and plain values; delete") as error:
        fit(quick(), tmp_path / "run")
    assert str(path) in str(error.value)
    assert not (tmp_path / "went-off").exists()
    torch.load(path, weights_only=False)  # the bomb is one
    assert (tmp_path / "went-off").exists()
