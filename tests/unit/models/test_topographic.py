"""Networks by name, which of their layers are topographic, and what these put out."""

import pytest
import torch
from torch import nn

from topotune.errors import InputError
from topotune.models import MODELS
from topotune.models.topographic import LayerOutputs, build_model, select_layers, topographic_layers


def _hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def _empty(name: str) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return build_model(name, 3, 10)


def test_outputs_are_those_of_the_layers_by_name() -> None:
    first, second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1)
    model = nn.Sequential(first, nn.ReLU(), second)
    images = torch.randn(4, 1, 5, 5)
    with LayerOutputs({"b": second, "a": first}) as caught:
        model(images)
    assert set(caught.outputs) == {"a", "b"}
    assert torch.equal(caught.outputs["a"], first(images))
    assert torch.equal(caught.outputs["b"], second(first(images).relu()))


def test_a_layer_that_runs_twice_leaves_its_last_output() -> None:
    layer = nn.Conv2d(2, 2, 1)
    images = torch.randn(1, 2, 3, 3)
    with LayerOutputs({"0": layer}) as caught:
        nn.Sequential(layer, layer)(images)
    assert torch.equal(caught.outputs["0"], layer(layer(images)))


def test_nothing_stays_behind() -> None:
    model = build_model("small_cnn", 1, 10)
    before = set(model.state_dict())
    with LayerOutputs(topographic_layers("small_cnn", model)) as caught:
        model(torch.zeros(2, 1, 8, 8))
        assert _hooks(model) == 2
        assert set(model.state_dict()) == before
    assert _hooks(model) == 0
    caught.outputs.clear()
    model(torch.zeros(2, 1, 8, 8))
    assert caught.outputs == {}


def test_nothing_stays_behind_after_an_error() -> None:
    model = build_model("small_cnn", 1, 10)
    with pytest.raises(RuntimeError), LayerOutputs(topographic_layers("small_cnn", model)):  # noqa: PT012
        assert _hooks(model) == 2
        model(torch.zeros(2, 7, 8, 8))
    assert _hooks(model) == 0


def test_unknown_names() -> None:
    model = build_model("small_cnn", 1, 10)
    with pytest.raises(InputError, match="unknown model 'alexnet'; choose from small_cnn, mnist_cnn, cifar_cnn"):
        build_model("alexnet", 3, 10)
    with pytest.raises(InputError, match="unknown model 'alexnet'"):
        topographic_layers("alexnet", model)
    missing = r"no layer matches 'layer1\.1\.conv2'; convolutions and linear layers here are conv1, conv2, fc$"
    with pytest.raises(InputError, match=missing):
        topographic_layers("resnet18", model)


@pytest.mark.parametrize("layers", ["conv7", "conv1,conv7", "conv1, conv7*", "", "conv1,", "code,paper"])
def test_a_layer_that_is_not_there_is_named_with_its_model(layers: str) -> None:
    with pytest.raises(InputError) as error:
        topographic_layers("small_cnn", build_model("small_cnn", 1, 10), layers)
    assert str(error.value).startswith(f"model 'small_cnn': layers = {layers!r}: no layer matches ")
    assert str(error.value).endswith("convolutions and linear layers here are conv1, conv2, fc")
    assert "\n" not in str(error.value)


RESNET18 = {
    "code": ["conv1", "layer1.1.conv2", "layer2.1.conv2", "layer3.1.conv2", "layer4.1.conv2"],
    "paper": ["layer1.0.conv2", "layer1.1.conv2", "layer2.0.conv2", "layer2.1.conv2", "layer3.0.conv2",
              "layer3.1.conv2", "layer4.0.conv2", "layer4.1.conv2"],
}  # fmt: skip
DENSENET121 = {
    "code": ["features.conv0", "features.denseblock1.denselayer6.conv2", "features.denseblock2.denselayer12.conv2",
             "features.denseblock3.denselayer24.conv2", "features.denseblock4.denselayer16.conv2"],
    "paper": ["features.denseblock1.denselayer6.conv2", "features.denseblock2.denselayer12.conv2",
              "features.denseblock3.denselayer24.conv2", "features.denseblock4.denselayer16.conv2"],
}  # fmt: skip
_VGG16 = ["features.0", "features.3", "features.7", "features.10", "features.14", "features.17", "features.20",
          "features.24", "features.27", "features.30", "features.34", "features.37", "features.40"]  # fmt: skip
VGG16 = {"code": _VGG16, "paper": _VGG16, "convolutions": _VGG16}


@pytest.mark.parametrize("loss", ["channel", "ws", "as"])
@pytest.mark.parametrize(
    ("name", "reading", "expected"),
    [
        (name, reading, expected)
        for name, readings in (("resnet18", RESNET18), ("densenet121", DENSENET121), ("vgg16", VGG16))
        for reading, expected in readings.items()
    ],
)
def test_readings_of_the_first_papers_networks(name: str, reading: str, expected: list[str], loss: str) -> None:
    """The published code's layers, and those that its paper's wording names."""
    assert list(topographic_layers(name, _empty(name), reading, loss)) == expected


@pytest.mark.parametrize(
    ("name", "convolutions"),
    [("mnist_cnn", ["conv1", "conv2"]), ("cifar_cnn", ["conv1", "conv2", "conv3", "conv4"])],
)
@pytest.mark.parametrize("reading", ["code", "paper"])
def test_readings_of_the_second_papers_networks(name: str, convolutions: list[str], reading: str) -> None:
    """The neighbour losses are about the fully connected layer on the 11 x 11 grid; the channel loss is not."""
    model = _empty(name)
    for loss in ("ws", "ws_cosine", "ws_pearson", "as", "as_relu", "as_global", "laplacian"):
        assert list(topographic_layers(name, model, reading, loss)) == ["fc1"]
    assert list(topographic_layers(name, model, reading, "channel")) == convolutions
    assert list(topographic_layers(name, model, reading)) == convolutions
    assert list(topographic_layers(name, model, "convolutions", "ws")) == convolutions
    assert model.get_submodule("fc1").out_features == 121
    assert MODELS["small_cnn"].published("code", "ws") == ("conv1", "conv2")  # it is in neither paper


def test_names_and_patterns() -> None:
    model = _empty("resnet18")
    assert list(topographic_layers("resnet18", model, "layer4.*.conv2")) == ["layer4.0.conv2", "layer4.1.conv2"]
    # in the network's order, each once, with or without blanks
    both = topographic_layers("resnet18", model, "layer4.?.conv1, conv1 ,layer4.0.conv1")
    assert list(both) == ["conv1", "layer4.0.conv1", "layer4.1.conv1"]
    assert list(topographic_layers("resnet18", model, "fc")) == ["fc"]
    assert both["conv1"] is model.get_submodule("conv1")
    # a pattern means convolutions and linear layers, no batch normalisation
    assert list(topographic_layers("resnet18", model, "layer1.0.*")) == ["layer1.0.conv1", "layer1.0.conv2"]
    assert len(topographic_layers("resnet18", model, "convolutions")) == 20
    assert len(topographic_layers("resnet18", model, "*")) == 21


def test_layers_of_any_network() -> None:
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Conv3d(1, 2, 3), nn.Linear(4, 5))
    assert list(select_layers(model)) == ["0", "2"]
    assert list(select_layers(model, ["*"])) == ["0", "2", "3"]
    assert list(select_layers(model, ["3", "1"])) == ["1", "3"]  # a name may be any layer's
    with pytest.raises(InputError, match=r"no layer matches '7'; convolutions and linear layers here are 0, 2, 3"):
        select_layers(model, ["0", "7"])
    with pytest.raises(InputError, match="Linear has no convolution; name the layers that shall be topographic"):
        select_layers(nn.Linear(2, 3))


def test_building_draws_from_the_global_generator() -> None:
    torch.manual_seed(3)
    first = build_model("small_cnn", 1, 10).state_dict()
    torch.manual_seed(3)
    second = build_model("small_cnn", 1, 10).state_dict()
    third = build_model("small_cnn", 1, 10).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], third["conv1.weight"])
