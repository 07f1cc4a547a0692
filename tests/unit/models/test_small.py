"""The small networks: layer by layer, and parameters counted by hand."""

import torch
from torch import nn

from topotune.models.small import mnist_cnn, small_cnn


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
