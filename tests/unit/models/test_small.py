"""The small networks: layer by layer, and parameters counted by hand."""

import torch
from torch import nn

from topotune.models.small import cifar_cnn, mnist_cnn, small_cnn


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_small_cnn() -> None:
    # convolutions with bias, two batch normalisations, one linear layer
    expected = (9 * 32 + 32) + 2 * 32 + (9 * 32 * 64 + 64) + 2 * 64 + (64 * 10 + 10)
    assert _count(small_cnn(1, 10)) == expected == 19658
    assert _count(small_cnn(3, 10)) == expected + 2 * 9 * 32
    assert small_cnn(3, 7).eval()(torch.zeros(2, 3, 8, 8)).shape == (2, 7)


def test_mnist_cnn_is_truong_and_hassons() -> None:
    """conv 1→32, conv 32→64, average pool, fc 64→121, fc 121→10; dropout ½ before the last."""
    model = mnist_cnn(1, 10)
    expected = (9 * 32 + 32) + (9 * 32 * 64 + 64) + (64 * 121 + 121) + (121 * 10 + 10)
    assert _count(model) == expected == 27901
    kinds = [type(layer).__name__ for layer in model.children()]
    assert kinds == [
        "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d", "AdaptiveAvgPool2d", "Flatten", "Linear", "ReLU",
        "Dropout", "Linear",
    ]  # fmt: skip
    assert model.get_submodule("dropout").p == 0.5
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    shapes = [(32, 1, 3, 3), (64, 32, 3, 3), (121, 64), (10, 121)]
    assert _weights(model) == shapes
    assert _paddings(model) == [(1, 1)] * 2
    assert [layer.kernel_size for layer in model.children() if isinstance(layer, nn.MaxPool2d)] == [2, 2]
    assert model.get_submodule("average").output_size == 1


def _weights(model: nn.Module) -> list[tuple[int, ...]]:
    kinds = (nn.Conv2d, nn.Linear)
    assert all(layer.bias is not None for layer in model.children() if isinstance(layer, kinds))
    return [tuple(layer.weight.shape) for layer in model.children() if isinstance(layer, kinds)]


def _paddings(model: nn.Module) -> list[object]:
    convolutions = [layer for layer in model.children() if isinstance(layer, nn.Conv2d)]
    assert all(layer.stride == (1, 1) for layer in convolutions)
    return [layer.padding for layer in convolutions]


def test_cifar_cnn_is_truong_and_hassons() -> None:
    """conv 3→32→64→128→256, each with norm and ReLU, pools after three; average pool, fc 256→121, fc 121→10."""
    model = cifar_cnn(3, 10)
    expected = (
        (9 * 3 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 128 + 128) + (9 * 128 * 256 + 256)
        + 2 * (32 + 64 + 128 + 256) + (256 * 121 + 121) + (121 * 10 + 10)
    )  # fmt: skip
    assert _count(model) == expected == 421_693
    kinds = [type(layer).__name__ for layer in model.children()]
    block = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert kinds == [
        *block, "MaxPool2d", *block, "MaxPool2d", *block, "MaxPool2d", *block, "AdaptiveAvgPool2d", "Flatten", "Linear",
        "ReLU", "Dropout", "Linear",
    ]  # fmt: skip
    assert _weights(model) == [(32, 3, 3, 3), (64, 32, 3, 3), (128, 64, 3, 3), (256, 128, 3, 3), (121, 256), (10, 121)]
    assert _paddings(model) == [(1, 1)] * 4
    assert [layer.num_features for layer in model.children() if isinstance(layer, nn.BatchNorm2d)] == [32, 64, 128, 256]
    assert [layer.kernel_size for layer in model.children() if isinstance(layer, nn.MaxPool2d)] == [2, 2, 2]
    assert model.get_submodule("dropout").p == 0.5
    assert model.get_submodule("average").output_size == 1
    assert list(dict(model.named_children()))[-4:] == ["fc1", "relu5", "dropout", "fc2"]
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert cifar_cnn(1, 7).eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 7)
