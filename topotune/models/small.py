"""Small networks: one for the embedded digits, two of Truong & Hasson (arXiv 2508.00043)."""

from collections import OrderedDict

from torch import nn


def small_cnn(in_channels: int, classes: int) -> nn.Module:
    """Two 3x3 convolutions (32, 64 channels) with batch normalisation and a linear layer; for 8x8 images."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, 32, 3, padding=1),
            norm1=nn.BatchNorm2d(32),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, 3, padding=1),
            norm2=nn.BatchNorm2d(64),
            relu2=nn.ReLU(),
            pool2=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(64, classes),
        )
    )


def cifar_cnn(in_channels: int, classes: int) -> nn.Module:
    """The second paper's network for CIFAR-10: four 3x3 convolutions (32, 64, 128, 256), each with batch
    normalisation, max-pooling after the first three, global average pooling, 121 units."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, channels in enumerate((32, 64, 128, 256), start=1):
        layers[f"conv{number}"] = nn.Conv2d(in_channels, channels, 3, padding=1)
        layers[f"norm{number}"] = nn.BatchNorm2d(channels)
        layers[f"relu{number}"] = nn.ReLU()
        if number < 4:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        in_channels = channels
    layers |= _head(256, classes, relu="relu5")
    return nn.Sequential(layers)


def mnist_cnn(in_channels: int, classes: int) -> nn.Module:
    """The second paper's network for MNIST: two 3x3 convolutions (32, 64), global average pooling, 121 units."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, 32, 3, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, 3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            **_head(64, classes, relu="relu3"),
        )
    )


def _head(features: int, classes: int, relu: str) -> dict[str, nn.Module]:
    """Global average pooling and the 121 units that are laid on a grid, the layer called ``fc1``."""
    return {
        "average": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(features, 121),
        relu: nn.ReLU(),
        "dropout": nn.Dropout(0.5),
        "fc2": nn.Linear(121, classes),
    }
