"""A network's head and tail together are the network, bit for bit."""

import pytest
import torch
from torch import Tensor, nn

from topotune.models import MODELS
from topotune.models.divided import divide
from topotune.models.topographic import build_model, select_layers

LARGE = ("resnet18", "vgg16", "densenet121")
SHAPES = {"small_cnn": (1, 8, 8), "mnist_cnn": (1, 28, 28)}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in MODELS])
def test_both_parts_are_the_network(name: str) -> None:
    shape = SHAPES.get(name, (3, 32, 32))
    model = build_model(name, shape[0], 10).eval()
    images = torch.randn(3, *shape)
    layers = [one for one, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert divide(model, layers, images[:1]) is None  # nothing before the first one
    for first in layers[1 :: max(len(layers) // 10, 1)]:
        parts = divide(model, [first, layers[-1]], images[:1])
        if parts is None:
            continue
        head, tail = parts
        with torch.no_grad():
            kept = head(images)
            assert kept.dim() == 4
            assert torch.equal(tail(kept), model(images))
        assert select_layers(tail, [first])[first] is model.get_submodule(first)
    parts = divide(model, layers[-1:], images[:1])
    assert parts is not None
    assert parts[0](images).shape[2:] == (1, 1)  # one fully connected layer is all that is left
    assert len([one for one in parts[1].modules() if isinstance(one, nn.Conv2d | nn.Linear)]) == 1


class _Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(2, 2, 1) for _ in range(3))

    def forward(self, images: Tensor) -> Tensor:
        first = self.one(images).relu()
        output: Tensor = (self.three(self.two(first)) + first).mean((2, 3))
        return output


def test_two_tensors_are_not_handed_on() -> None:
    model = _Skip().eval()
    parts = divide(model, ["three"], torch.zeros(1, 2, 4, 4))
    assert parts is not None
    images = torch.randn(2, 2, 4, 4)
    assert torch.equal(parts[0](images), model.one(images).relu())
    assert torch.equal(parts[1](parts[0](images)), model(images))
    # the first layer's outputs go to two places, but nothing else does
    assert divide(model, ["one"], torch.zeros(1, 2, 4, 4)) is None
