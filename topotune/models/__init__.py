"""Networks, and which of their layers are topographic."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelEntry:
    """One network.

    build: path of a function (in_channels, classes) -> torch module.
    layers: names of the topographic layers, those of the first paper's code where it has the network.
    least: the smallest height and width of an image that its pooling leaves anything of.
    """

    build: str
    layers: tuple[str, ...]
    least: int


_VGG16_CONVOLUTIONS = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)

MODELS: dict[str, ModelEntry] = {
    "small_cnn": ModelEntry("topotune.models.small:small_cnn", ("conv1", "conv2"), least=2),
    "mnist_cnn": ModelEntry("topotune.models.small:mnist_cnn", ("conv1", "conv2"), least=4),
    "resnet18": ModelEntry(
        "topotune.models.resnet:resnet18",
        ("conv1", *(f"layer{stage}.1.conv2" for stage in (1, 2, 3, 4))),
        least=1,
    ),
    "vgg16": ModelEntry(
        "topotune.models.vgg:vgg16", tuple(f"features.{index}" for index in _VGG16_CONVOLUTIONS), least=32
    ),
    "densenet121": ModelEntry(
        "topotune.models.densenet:densenet121",
        (
            "features.conv0",
            "features.denseblock1.denselayer6.conv2",
            "features.denseblock2.denselayer12.conv2",
            "features.denseblock3.denselayer24.conv2",
            "features.denseblock4.denselayer16.conv2",
        ),
        least=16,
    ),
}
