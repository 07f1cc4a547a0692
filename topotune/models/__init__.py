"""Networks, and which of their layers are topographic."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelEntry:
    """One network.

    build: path of a function (in_channels, classes) -> torch module.
    layers: names of the topographic layers, those of the first paper's code where it has the network.
    least: the smallest height and width of an image that its pooling leaves anything of.
    paper: the layers by the first paper's wording, where that differs from its code.
    units: the fully connected layer that the second paper lays on a grid, in its networks.
    """

    build: str
    layers: tuple[str, ...]
    least: int
    paper: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    def published(self, reading: str, loss: str) -> tuple[str, ...]:
        """The layers of one reading: ``code``, as the authors of the loss have it, or ``paper``."""
        if loss != "channel" and self.units:
            return self.units
        return (self.paper or self.layers) if reading == "paper" else self.layers


READINGS = ("code", "paper")


_VGG16_CONVOLUTIONS = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)

_DENSE_BLOCK_ENDS = tuple(
    f"features.denseblock{block}.denselayer{last}.conv2" for block, last in enumerate((6, 12, 24, 16), start=1)
)

MODELS: dict[str, ModelEntry] = {
    "small_cnn": ModelEntry("topotune.models.small:small_cnn", ("conv1", "conv2"), least=2),
    "mnist_cnn": ModelEntry("topotune.models.small:mnist_cnn", ("conv1", "conv2"), least=4, units=("fc1",)),
    "cifar_cnn": ModelEntry(
        "topotune.models.small:cifar_cnn", ("conv1", "conv2", "conv3", "conv4"), least=8, units=("fc1",)
    ),
    "resnet18": ModelEntry(
        "topotune.models.resnet:resnet18",
        ("conv1", *(f"layer{stage}.1.conv2" for stage in (1, 2, 3, 4))),
        least=1,
        # the end of each building block
        paper=tuple(f"layer{stage}.{block}.conv2" for stage in (1, 2, 3, 4) for block in (0, 1)),
    ),
    "vgg16": ModelEntry(
        "topotune.models.vgg:vgg16", tuple(f"features.{index}" for index in _VGG16_CONVOLUTIONS), least=32
    ),
    "densenet121": ModelEntry(
        "topotune.models.densenet:densenet121",
        ("features.conv0", *_DENSE_BLOCK_ENDS),
        least=16,
        paper=_DENSE_BLOCK_ENDS,  # the end of each dense block
    ),
}
