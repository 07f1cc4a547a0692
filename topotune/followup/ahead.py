"""What a network does ahead of its first layer of some, done once for all that is tried with these layers."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from topotune.data.batches import Batch
from topotune.data.splits import Split
from topotune.models.divided import divide
from topotune.training.device import Precision
from topotune.training.memory import EVALUATED

KEPT = 512 * 2**20  # bytes of outputs that are kept at most

Batches = Callable[[], Iterator[Batch]]


def run_ahead(
    model: nn.Module, layers: Collection[str], batches: Batches, samples: int, precision: Precision
) -> tuple[list[Batch] | None, nn.Module]:
    """What comes out ahead of the layers, batch by batch, and the network that takes it from there, which shares
    ``model``'s layers; None and ``model`` itself where nothing comes before them, or too much to be kept.

    Args:
        model: a network that torch.fx can trace, on the device; it is put into evaluation mode.
        layers: names.
        batches: all samples, each time anew.
        samples: how many labels they have.
        precision: of the evaluation.
    """
    model.eval()  # as it is traced
    batch = next(batches())
    image = batch.images[:1]
    parts = divide(model, layers, image)
    if parts is None:
        return None, model
    head, tail = parts
    images = len(batch.images) / len(batch.labels) * samples
    if _through(head, image, precision).nbytes * images > KEPT:
        return None, model
    return [replace(one, images=_through(head, one.images, precision)) for one in batches()], tail


def split_ahead(
    model: nn.Module, layers: Collection[str], split: Split, batches: Batches, precision: Precision
) -> tuple[Split, nn.Module]:
    """``run_ahead``, with what comes out as the images (N, C, H, W) of a split, which normalising leaves as they are;
    ``split`` and ``model`` themselves where nothing is kept, and for sounds, whose clips have windows.

    batches: of ``split``, normalised.
    """
    kept, tail = (None, model) if split.clips is not None else run_ahead(model, layers, batches, len(split), precision)
    if kept is None:
        return split, model
    images = torch.cat([one.images for one in kept])
    channels, height, width = images.shape[1:]
    entry = replace(split.entry, shape=(channels, height, width), mean=(0.0,) * channels, std=(1.0,) * channels)
    return replace(split, images=images, entry=entry), tail


@torch.no_grad()
def _through(head: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    """The head's outputs, as ``evaluate`` would have them on their way."""
    with precision.autocast():
        return torch.cat([head(precision.images(some)) for some in torch.split(images, EVALUATED)])
