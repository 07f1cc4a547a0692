"""Networks by name, and what their topographic layers put out."""

import pytest
import torch
from torch import nn

from topotune.errors import InputError
from topotune.models.topographic import LayerOutputs, build_model, topographic_layers


def _hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_outputs_are_those_of_the_layers_in_the_order_of_the_calls() -> None:
    first, second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1)
    model = nn.Sequential(first, nn.ReLU(), second)
    images = torch.randn(4, 1, 5, 5)
    with LayerOutputs([second, first]) as caught:
        model(images)
    one, two = caught.outputs
    assert torch.equal(one, first(images))
    assert torch.equal(two, second(first(images).relu()))


def test_nothing_stays_behind() -> None:
    model = build_model("small_cnn", 1, 10)
    before = set(model.state_dict())
    layers = list(topographic_layers("small_cnn", model).values())
    with LayerOutputs(layers) as caught:
        model(torch.zeros(2, 1, 8, 8))
        assert _hooks(model) == 2
        assert set(model.state_dict()) == before
    assert _hooks(model) == 0
    model(torch.zeros(2, 1, 8, 8))
    assert len(caught.outputs) == 2


def test_nothing_stays_behind_after_an_error() -> None:
    model = build_model("small_cnn", 1, 10)
    with pytest.raises(RuntimeError), LayerOutputs(topographic_layers("small_cnn", model).values()):  # noqa: PT012
        assert _hooks(model) == 2
        model(torch.zeros(2, 7, 8, 8))
    assert _hooks(model) == 0


def test_unknown_names() -> None:
    model = build_model("small_cnn", 1, 10)
    with pytest.raises(InputError, match="unknown model 'alexnet'; choose from small_cnn, mnist_cnn"):
        build_model("alexnet", 3, 10)
    with pytest.raises(InputError, match="unknown model 'alexnet'"):
        topographic_layers("alexnet", model)
    with pytest.raises(InputError, match=r"model 'resnet18' has no layer 'layer1\.1\.conv2'"):
        topographic_layers("resnet18", model)


def test_building_draws_from_the_global_generator() -> None:
    torch.manual_seed(3)
    first = build_model("small_cnn", 1, 10).state_dict()
    torch.manual_seed(3)
    second = build_model("small_cnn", 1, 10).state_dict()
    third = build_model("small_cnn", 1, 10).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], third["conv1.weight"])
