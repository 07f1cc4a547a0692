"""Compact networks compute what the masked ones do, whatever the network, the proportion and the layers."""

import copy
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import topotune
from topotune.errors import InputError
from topotune.followup.masked import zero
from topotune.models import MODELS
from topotune.models.compact import compact
from topotune.models.topographic import build_model, topographic_layers

LARGE = ("resnet18", "vgg16", "densenet121")
SHAPES = {"small_cnn": (1, 8, 8), "mnist_cnn": (1, 28, 28)}


def _trained(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """After a few steps, so that batch normalisation has statistics of its own, and biases are not zero."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model.train()
    for _ in range(2):
        loss = F.cross_entropy(model(torch.randn(4, *shape)), torch.randint(10, (4,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def _agree(model: nn.Module, small: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        expected, found = model(images), small(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * max(1.0, float(expected.abs().max())))


def _parameters(model: nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in MODELS],
)
@pytest.mark.parametrize("layers", ["code", "convolutions"])
def test_masked_and_compact_agree(name: str, layers: str) -> None:
    shape = SHAPES.get(name, (3, 32, 32))
    whole = _trained(build_model(name, shape[0], 10), shape)
    images = torch.randn(5, *shape)
    sizes = []
    for proportion in (0.0, 0.01, 0.3, 0.62, 0.95, 1.0):
        model = copy.deepcopy(whole)
        gone = topotune.prune_channels(model, proportion, layers=list(topographic_layers(name, model, layers)))
        small = compact(model, gone, images[:1])
        _agree(model, small, images)
        sizes.append(_parameters(small))
    assert sizes[0] == _parameters(whole)
    assert sorted(sizes, reverse=True)[2:] == sizes[2:]  # the first folded constants may cost more than they save


any_cut = given(shares=st.lists(st.floats(0, 1), min_size=1, max_size=5), seed=st.integers(0, 2**32 - 1))


@pytest.mark.parametrize("name", [name for name in MODELS if name not in LARGE])
@settings(deadline=None, max_examples=10, derandomize=True)
@any_cut
def test_any_channels_of_any_layers(name: str, shares: list[float], seed: int) -> None:
    _check_cut(name, shares, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
@settings(deadline=None, max_examples=3, derandomize=True)
@any_cut
def test_any_channels_of_large_networks(name: str, shares: list[float], seed: int) -> None:
    _check_cut(name, shares, seed)


def _check_cut(name: str, shares: list[float], seed: int) -> None:
    """Other channels, and other shares of them, in each layer; a layer may lose all."""
    shape, draw = SHAPES.get(name, (3, 32, 32)), torch.Generator().manual_seed(seed)
    model = _once_trained(name, shape)
    gone = {}
    for number, (layer, module) in enumerate(topotune.select_layers(model).items()):
        channels = len(module.get_parameter("weight"))
        several = round(shares[number % len(shares)] * channels)
        gone[layer] = torch.randperm(channels, generator=draw)[:several].tolist()
    masked, images = copy.deepcopy(model), torch.randn(3, *shape, generator=draw)
    zero({layer: masked.get_submodule(layer) for layer in gone}, gone)
    _agree(masked, compact(model, gone, images[:1]), images)


@cache
def _once_trained(name: str, shape: tuple[int, ...]) -> nn.Module:
    return _trained(build_model(name, shape[0], 10), shape)


def test_weights_fit_a_network_that_was_made_of_others() -> None:
    first = _trained(build_model("resnet18", 3, 10), (3, 32, 32))
    gone = topotune.prune_channels(first, 0.4)
    images = torch.randn(2, 3, 32, 32)
    small, other = compact(first, gone, images), compact(build_model("resnet18", 3, 10), gone, images)
    other.load_state_dict(small.state_dict())
    _agree(first, other, images)


class _Odd(nn.Module):
    """Padding of every kind, an average over padded zeros, an operation that is not known, a sum with a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, 6, 3, padding=1)
        self.two = nn.Conv2d(6, 8, 3, padding="same", dilation=2)
        self.three = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.four = nn.Conv2d(8, 6, 3, stride=2, padding=(1, 0), bias=False)
        self.norm = nn.BatchNorm2d(6, affine=False)
        self.pool = nn.AvgPool2d(2, padding=1)
        self.five = nn.Conv2d(6, 6, 1, groups=2)
        self.fc = nn.Linear(6, 10)

    def forward(self, images: Tensor) -> Tensor:
        first = F.relu(self.one(images) + 1.0)
        both = torch.cat([first[:, :2], self.two(first)[:, :6]], 1)
        last = self.norm(self.four(self.three(both)))
        output: Tensor = self.fc(self.five(self.pool(last)).mean((2, 3)))
        return output


def test_what_is_not_known_gets_whole_tensors() -> None:
    model = _trained(_Odd(), (1, 9, 9))
    for proportion in (0.4, 1.0):
        gone = topotune.prune_channels(model, proportion, layers=["one", "two", "three", "four"])
        _agree(model, compact(model, gone, torch.zeros(1, 1, 9, 9)), torch.randn(3, 1, 9, 9))


def test_other_sizes_are_exact_too() -> None:
    model = _trained(build_model("cifar_cnn", 3, 10), (3, 32, 32))
    gone = topotune.prune_channels(model, 0.5)
    small = compact(model, gone, torch.zeros(1, 3, 32, 32))
    _agree(model, small, torch.randn(2, 3, 45, 27))


def test_wrong_layers_and_channels_are_named() -> None:
    model = build_model("small_cnn", 1, 10)
    for gone, said in (({"conv9": [0]}, "no layer 'conv9'"), ({"conv1": [32]}, "has not all of the channels")):
        with pytest.raises(InputError, match=said):
            compact(model, gone, torch.zeros(1, 1, 8, 8))
    layer = nn.Conv2d(1, 1, 3, padding=1)
    with pytest.raises(InputError, match="is run twice"):
        compact(nn.Sequential(layer, layer), {"0": [0]}, torch.zeros(1, 1, 8, 8))
