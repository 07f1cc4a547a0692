"""VGG-16 with batch normalisation (Poli et al. 2022, section 3.1): torchvision's as it is."""

from torch import nn
from torchvision.models import vgg


def vgg16(in_channels: int, classes: int) -> nn.Module:
    """torchvision's ``vgg16_bn``; for other than 3 input channels its first convolution is replaced."""
    model: nn.Module = vgg.vgg16_bn(num_classes=classes)
    if in_channels != 3:
        first = nn.Conv2d(in_channels, 64, kernel_size=3, padding=1)
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(first.bias)  # type: ignore[arg-type]
        model.features[0] = first  # type: ignore[operator,assignment]
    return model
