"""ResNet-18 for small images (Poli et al. 2022, section 3.1): torchvision's with another first convolution."""

from torch import nn
from torchvision.models import resnet


def resnet18(in_channels: int, classes: int) -> nn.Module:
    """First convolution 3x3, stride 1, padding 1; the max-pooling stays, as in the code."""
    model: nn.Module = resnet.resnet18(num_classes=classes)
    model.conv1 = nn.Conv2d(in_channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    return model
