"""DenseNet-121 for 32x32 images (Poli et al. 2022, section 3.1): torchvision's, with a first convolution that keeps the size."""

from torch import nn
from torchvision.models import densenet


def densenet121(in_channels: int, classes: int) -> nn.Module:
    """torchvision's DenseNet-121; first convolution 3x3, stride 1, padding 1, Kaiming initialisation; the pool stays."""
    model: nn.Module = densenet.densenet121(num_classes=classes)
    first = nn.Conv2d(in_channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(first.weight)
    model.features.conv0 = first
    return model
