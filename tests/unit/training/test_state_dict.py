"""A plain state_dict of each model is recognised, and becomes a checkpoint; of anything else it is said what it is."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

import topotune
from topotune.errors import InputError
from topotune.load import checkpoint_folder
from topotune.models import MODELS
from topotune.models.topographic import build_model
from topotune.training.checkpoint import load_config, load_model
from topotune.training.state_dict import load_plain

DATA = {"small_cnn": "digits", "mnist_cnn": "mnist"}


def _same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in ("vgg16", "densenet121"))) for name in MODELS]
)
def test_each_model_is_recognised(name: str, tmp_path: Path) -> None:
    channels, path = (1 if name in DATA else 3), tmp_path / "weights.pth"
    model = build_model(name, channels, 10)
    torch.save(model.state_dict(), path)
    loaded = topotune.load_checkpoint(path)
    assert _same(loaded, model)
    assert not loaded.training
    assert load_plain(path)[0::2] == (name, channels)
    with checkpoint_folder(path, settings={"dataset": DATA.get(name, "cifar10"), "seed": 3}) as folder:
        assert _same(load_model(folder), model)
        assert (load_config(folder).model, load_config(folder).seed) == (name, 3)


def test_ranks_names_and_safetensors(tmp_path: Path) -> None:
    model = build_model("small_cnn", 1, 7)
    save_file({f"module.{name}": tensor for name, tensor in model.state_dict().items()}, tmp_path / "a.safetensors")
    assert _same(topotune.load_checkpoint(tmp_path / "a.safetensors"), model)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds no state_dict"),
        ({"epoch": 3, "state_dict": {}}, "holds no state_dict"),
        ({}, "holds no state_dict"),
        ({"epoch": 3, "model": {"weight": torch.zeros(1)}}, "holds no state_dict by itself: it is below 'model'"),
        ({"a": torch.zeros(1)}, r"its tensors \(a …\) are those of none of small_cnn"),
        (torch.nn.Linear(1, 1), "is damaged, or holds more than tensors"),
    ],
)
def test_other_content(content: Any, said: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=said):
        topotune.load_checkpoint(tmp_path / "a.pt")


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.pth: no such file"):
        topotune.load_checkpoint(tmp_path / "a.pth")
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(InputError, match=r"is damaged|cannot be read"):
            topotune.load_checkpoint(tmp_path / name)


def test_torchvisions_own_resnet_is_another_network(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"conv1.weight is \(64, 3, 7, 7\), and \(64, 3, 3, 3\) in 'resnet18'"):
        topotune.load_checkpoint(tmp_path / "a.pt")


def test_data_that_it_is_not_for(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(build_model("small_cnn", 1, 10).state_dict(), path)
    for settings, said in (
        ({}, "does not say which data it is for: give --set dataset="),
        ({"dataset": "cifar10"}, "has 3 channels and 10 classes, but .* is of a network for 1 and 10"),
        ({"dataset": "nonsense"}, "dataset"),
        ({"dataset": "digits", "model": "vgg16"}, "model 'vgg16' needs images"),
        ({"dataset": "digits", "model": "mnist_cnn"}, "--set model=mnist_cnn: .* holds the weights of 'small_cnn'"),
        ({"dataset": "digits", "sed": 1}, "--set: unknown"),
    ):
        with pytest.raises(InputError, match=said), checkpoint_folder(path, settings=settings):
            pass
    with pytest.raises(InputError, match="has its own settings"), checkpoint_folder(tmp_path, settings={"seed": 1}):
        pass
