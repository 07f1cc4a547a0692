"""DenseNet-121 for small images (Poli et al. 2022, section 3.1): torchvision's with another first convolution."""

from torch import nn
from torchvision.models import densenet


def densenet121(in_channels: int, classes: int) -> nn.Module:
    """First convolution 3x3, stride 1, padding 1, Kaiming initialisation; the max-pooling stays, as in the code."""
    model: nn.Module = densenet.densenet121(num_classes=classes)
    first = nn.Conv2d(in_channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(first.weight)
    model.features.conv0 = first  # type: ignore[union-attr]
    return model
