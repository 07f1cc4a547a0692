"""Trained networks on disk: read back whole, and refused in words when damaged, foreign or dangerous."""

import json
import os
import random
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from topotune.config import TrialConfig
from topotune.data.batches import evaluation_batches
from topotune.data.splits import forget_splits, load_split
from topotune.errors import InputError
from topotune.load import load_checkpoint
from topotune.training.checkpoint import load_state, save_state
from topotune.training.device import Precision
from topotune.training.fit import fit
from topotune.training.loop import evaluate
from topotune.training.records import EpochMetrics

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


@pytest.mark.parametrize(
    "content", [b"\x80", b"PK\x03\x04", b"hello", b"\x80\x02}q\x00.", random.Random(0).randbytes(64)]
)
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


class Stop(Exception):
    """What a test stops a run with."""


def _stop_at_two(metrics: EpochMetrics) -> None:
    if metrics.epoch == 2:
        raise Stop


@pytest.fixture(scope="module")
def stopped(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs stopped after the second: it has both states."""
    out = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Stop):
        fit(quick(epochs=3), out, report=_stop_at_two)
    assert sorted(os.listdir(out / "last")) == ["previous.pt", "state.pt"]
    return out


@pytest.fixture
def broken(stopped: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def _finishes_alike(out: Path, trained: Any, quick: Quick) -> None:
    """The same command ends as the run that nothing disturbed: history and weights, to the bit."""
    undisturbed, expected = trained
    found = fit(quick(epochs=3), out)
    assert [replace(one, seconds=0) for one in found.history] == [replace(one, seconds=0) for one in expected.history]
    one, other = (load_file(folder / "model.safetensors") for folder in (out, undisturbed))
    assert list(one) == list(other)
    assert all(value.numpy().tobytes() == other[name].numpy().tobytes() for name, value in one.items())
    states = [torch.load(folder / "last" / "state.pt", weights_only=True) for folder in (out, undisturbed)]
    assert states[0]["epoch"] == states[1]["epoch"] == 3
    assert all(torch.equal(value, states[1]["model"][name]) for name, value in states[0]["model"].items())


def _said(out: Path) -> str:
    return f"{out / 'last' / 'state.pt'} is damaged; going on from {out / 'last' / 'previous.pt'}\n"


def test_a_state_that_is_cut_anywhere_is_passed_over(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken / "last" / "state.pt"
    content = path.read_bytes()
    for size in (*range(0, 256, 37), *range(256, len(content), len(content) // 40), len(content) - 1):
        path.write_bytes(content[:size])
        state = load_state(broken)
        assert state is not None
        assert state["epoch"] == 1
        assert capsys.readouterr().err == _said(broken)
    path.write_bytes(content)
    assert load_state(broken)["epoch"] == 2  # type: ignore[index]
    assert capsys.readouterr().err == ""


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(path.stat().st_size))


def _flipped(path: Path) -> None:
    """One bit of the largest tensor, which the archive's checksum sees."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _bomb(path: Path) -> None:
    torch.save({"epoch": 2, "model": _Bomb(path.parent.parent / "went-off")}, path)


def _something_else(path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, path)


@pytest.mark.parametrize("damage", [_cut, _garbage, _flipped, _bomb, _something_else])
def test_from_the_state_before_a_run_ends_as_undisturbed(
    damage: Callable[[Path], None], broken: Path, trained: Any, quick: Quick, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(broken / "last" / "state.pt")
    _finishes_alike(broken, trained, quick)
    assert capsys.readouterr().err == _said(broken)
    assert not (broken / "went-off").exists()


def test_a_crash_between_the_two_renames_goes_on_silently(
    broken: Path, trained: Any, quick: Quick, capsys: pytest.CaptureFixture[str]
) -> None:
    os.replace(broken / "last" / "state.pt", broken / "last" / "previous.pt")
    (broken / "last" / "state.pt.new").write_bytes(b"whole, but not yet renamed")
    state = load_state(broken)
    assert state is not None
    assert state["epoch"] == 2
    _finishes_alike(broken, trained, quick)
    assert capsys.readouterr().err == ""
    assert sorted(os.listdir(broken / "last")) == ["previous.pt", "state.pt"]


def test_where_both_are_damaged_the_way_out_is_named(broken: Path, quick: Quick) -> None:
    _garbage(broken / "last" / "previous.pt")
    _cut(broken / "last" / "state.pt")
    before = _content(broken)
    with pytest.raises(InputError) as error:
        fit(quick(epochs=3), broken)
    assert str(error.value) == (
        f"{broken / 'last' / 'state.pt'} is damaged, or holds more than tensors and plain values; delete "
        f"{broken / 'last'} to train this trial from its start"
    )
    assert _content(broken) == before


def _content(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_what_is_named_as_the_way_out_is_one(broken: Path, trained: Any, quick: Quick) -> None:
    shutil.rmtree(broken / "last")
    _finishes_alike(broken, trained, quick)


def test_a_state_that_cannot_be_written_leaves_the_old_ones(broken: Path, trained: Any, quick: Quick) -> None:
    """The system lets no file grow beyond a size that the weights fit into, and the state does not."""
    before = {path: content for path, content in _content(broken).items() if path.parent.name == "last"}

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((broken / "model.safetensors").stat().st_size + 1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            fit(quick(epochs=3), broken)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(error.value.filename).startswith(str(broken / "last" / "state.pt"))
    assert {path: content for path, content in _content(broken).items() if path.parent.name == "last"} == before
    assert not (broken / "result.json").exists()
    _finishes_alike(broken, trained, quick)


def test_a_run_is_not_gone_on_with_on_other_data(quick: Quick, tmp_path: Path) -> None:
    """The same file's name, other pixels within; the data that it began with are taken again."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    arrays = {
        "train_images": images, "train_labels": np.arange(40) % 3, "test_images": images[:6],
        "test_labels": np.arange(6) % 3,
    }  # fmt: skip

    def write(value: int, moment: int) -> None:
        forget_splits()
        images[3, 4, 5] = value
        np.savez(tmp_path / "own.npz", **arrays)
        os.utime(tmp_path / "own.npz", (moment, moment))

    config, out = quick(dataset="own.npz", batch_size=8, epochs=3), tmp_path / "run"
    write(100, 1_000_000_000)
    with pytest.raises(Stop):
        fit(config, out, tmp_path, report=_stop_at_two)
    before = _content(out)
    write(101, 1_000_000_010)
    with pytest.raises(InputError) as error:
        fit(config, out, tmp_path)
    assert str(error.value) == (
        f"{out / 'last' / 'state.pt'} was trained on other data than 'own.npz' is now; give the trial a folder of its "
        "own, or the data that it began with"
    )
    assert _content(out) == before
    write(100, 1_000_000_020)
    assert fit(config, out, tmp_path).epochs == 3
