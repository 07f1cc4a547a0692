"""Every network of MODELS: it classifies, it learns, and its topographic layers can be watched."""

from functools import cache
from pkgutil import resolve_name

import pytest
import torch
from torch import nn
from torchvision import models as torchvision_models

from topotune.data import DATASETS
from topotune.losses import LOSSES
from topotune.losses.channel import channel_loss
from topotune.models import MODELS, READINGS
from topotune.models.topographic import LayerOutputs, build_model, topographic_layers

# the data that each network is for; and log-mel spectrograms of one second, with one channel
IMAGES = {
    "small_cnn": ("digits", "mnist", "cifar10"),
    "mnist_cnn": ("digits", "mnist"),
    "cifar_cnn": ("digits", "cifar10"),
    "resnet18": ("digits", "mnist", "cifar10"),
    "densenet121": ("mnist", "cifar10"),
    "vgg16": ("cifar10",),
}
SPECTROGRAM = (1, 64, 101)


@cache
def _model(name: str, channels: int) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, channels, 10)


def _hooks(model: nn.Module) -> int:
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules())


def test_every_network_is_here() -> None:
    assert set(IMAGES) == set(MODELS)


@pytest.mark.parametrize(("name", "dataset"), [(name, one) for name, sets in IMAGES.items() for one in sets])
def test_contract(name: str, dataset: str) -> None:
    shape = DATASETS[dataset].shape
    model = _model(name, shape[0]).train()
    layers = topographic_layers(name, model)
    keys = list(model.state_dict())
    with LayerOutputs(layers) as caught:
        logits = model(torch.randn(2, *shape, generator=torch.Generator().manual_seed(1)))
    assert logits.shape == (2, 10)
    assert list(layers) == list(MODELS[name].layers)
    # in the order of the forward pass, each layer once
    widths = [layer.out_channels for layer in layers.values() if isinstance(layer, nn.Conv2d)]
    assert list(caught.outputs) == list(layers)
    assert [output.shape[1] for output in caught.outputs.values()] == widths
    assert len(widths) == len(MODELS[name].layers)
    assert all(output.dim() == 4 and len(output) == 2 for output in caught.outputs.values())
    assert _hooks(model) == 0
    assert list(model.state_dict()) == keys

    each = [channel_loss(y, torch.zeros((y.shape[1],) * 2)) for y in caught.outputs.values()]
    topographic = torch.stack(each).sum()
    model.zero_grad(set_to_none=True)
    (nn.functional.cross_entropy(logits, torch.tensor([0, 1])) + topographic).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
    first = next(iter(layers.values()))
    assert isinstance(first.weight, torch.Tensor)
    assert first.weight.grad is not None
    assert first.weight.grad.abs().sum() > 0
    model.zero_grad(set_to_none=True)


@pytest.mark.parametrize("name", MODELS)
def test_each_layer_is_caught_as_itself(name: str) -> None:
    """One hook at a time agrees with all at once: no two are confused, none is out of order."""
    channels = 1 if name in ("small_cnn", "mnist_cnn") else 3
    model = _model(name, channels).eval()
    images = torch.randn(1, channels, 32, 32, generator=torch.Generator().manual_seed(2))
    layers = topographic_layers(name, model)
    with torch.no_grad(), LayerOutputs(layers) as together:
        model(images)
    for one, layer in layers.items():
        with torch.no_grad(), LayerOutputs({one: layer}) as alone:
            model(images)
        assert torch.equal(alone.outputs[one], together.outputs[one])


# parameters with 10 classes: torchvision's published totals with 1,000, less 990 rows of the last layer, and the
# first convolution's change from 7x7 to 3x3
PARAMETERS = {
    "resnet18": 11_689_512 - 990 * 513 - 3 * 64 * (49 - 9),
    "densenet121": 7_978_856 - 990 * 1025 - 3 * 64 * (49 - 9),
    "vgg16": 138_365_992 - 990 * 4097,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_torchvisions(name: str) -> None:
    found = sum(parameter.numel() for parameter in _model(name, 3).parameters())
    assert found == PARAMETERS[name]


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "vgg16"])
def test_all_but_the_first_convolution_and_the_head_is_torchvisions(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision_models, "vgg16_bn" if name == "vgg16" else name)(num_classes=10)
    expected = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in _model(name, 3).state_dict().items()}
    differing = {key for key in expected if found[key] != expected[key]}
    assert list(found) == list(expected)
    assert differing == {"resnet18": {"conv1.weight"}, "densenet121": {"features.conv0.weight"}, "vgg16": set()}[name]


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "conv1"), ("densenet121", "features.conv0")])
def test_first_convolution_keeps_the_image(name: str, layer: str) -> None:
    """3x3, stride 1, padding 1; the max-pooling behind it stays."""
    model = _model(name, 3)
    first = model.get_submodule(layer)
    assert isinstance(first, nn.Conv2d)
    assert (first.kernel_size, first.stride, first.padding, first.bias) == ((3, 3), (1, 1), (1, 1), None)
    # Kaiming: normal with variance 2 / fan; fan_out = 9 · 64 for ResNet, fan_in = 9 · 3 for DenseNet
    fan = 9 * 64 if name == "resnet18" else 9 * 3
    assert first.weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.08)
    pools = [one for one in model.modules() if isinstance(one, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride, pool.padding) for pool in pools] == [(3, 2, 1)]


def test_vgg16_hears_too() -> None:
    """For audio its first convolution takes one channel; all 13 convolutions are topographic."""
    model = _model("vgg16", 1).eval()
    first = model.get_submodule("features.0")
    assert isinstance(first, nn.Conv2d)
    assert first.weight.shape == (64, 1, 3, 3)
    assert first.bias is not None
    assert (first.bias == 0).all()
    with torch.no_grad():
        assert model(torch.zeros(1, *SPECTROGRAM)).shape == (1, 10)
    convolutions = [name for name, one in model.named_modules() if isinstance(one, nn.Conv2d)]
    assert list(topographic_layers("vgg16", model)) == convolutions
    assert len(convolutions) == 13


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_the_others_hear_too(name: str) -> None:
    with torch.no_grad():
        assert _model(name, 1).eval()(torch.zeros(1, *SPECTROGRAM)).shape == (1, 10)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reading", [*READINGS, "convolutions"])
@pytest.mark.parametrize("name", MODELS)
def test_every_reading_names_layers_of_the_network(name: str, reading: str, loss: str) -> None:
    with torch.device("meta"):
        model: nn.Module = resolve_name(MODELS[name].build)(3, 10)
    layers = topographic_layers(name, model, reading, loss)
    assert layers
    assert all(isinstance(layer, nn.Conv2d | nn.Linear) for layer in layers.values())
    order = [one for one, _layer in model.named_modules()]
    assert list(layers) == sorted(layers, key=order.index)


@pytest.mark.parametrize("name", MODELS)
def test_topographic_layers_exist_and_are_convolutions(name: str) -> None:
    with torch.device("meta"):
        model: nn.Module = resolve_name(MODELS[name].build)(3, 10)
    assert all(isinstance(layer, nn.Conv2d) for layer in topographic_layers(name, model).values())
    assert len(set(MODELS[name].layers)) == len(MODELS[name].layers)


@pytest.mark.parametrize("name", MODELS)
def test_least_is_the_smallest_image_that_passes(name: str) -> None:
    least = MODELS[name].least
    model = build_model(name, 1, 3).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 1, least, least)).shape == (1, 3)
        if least > 1 and name != "densenet121":  # its least is 15, said as 16
            with pytest.raises(RuntimeError, match="too small"):
                model(torch.zeros(1, 1, least - 1, least - 1))
