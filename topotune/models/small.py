"""Two small networks: one for the embedded digits, one of Truong & Hasson (arXiv 2508.00043)."""

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
            average=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc1=nn.Linear(64, 121),
            relu3=nn.ReLU(),
            dropout=nn.Dropout(0.5),
            fc2=nn.Linear(121, classes),
        )
    )
