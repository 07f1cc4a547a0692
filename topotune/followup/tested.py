"""A network and the samples that it is tested on, as they are and under each perturbation of PERTURBATIONS.

All draws depend on the perturbation, the draw and the place of a sample alone: every network sees the same noise, and
a stronger level is more of the same. N samples, K classes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from topotune.data.batches import Batch, derive_seed, normalise, raw_batches
from topotune.data.splits import Split
from topotune.errors import InputError
from topotune.followup.ahead import split_ahead
from topotune.followup.perturbations import IMAGES, PERTURBATIONS, SOUNDS, Perturbation, check_level, chosen
from topotune.followup.weights import changed_weights
from topotune.models.topographic import CONVOLUTIONS
from topotune.training.device import Precision
from topotune.training.loop import evaluate

BLOCK = 250  # samples that are perturbed together: what is drawn for each depends on it, so it never changes
ATTACKED = 50  # images that are attacked together: so that rounding is the same, however many are evaluated at once
LEAST = 8  # pixels: the digits'
SEED = 0


@dataclass(frozen=True)
class Tested:
    """A network, ready on its device, with the samples there.

    layers: those that are studied, by their names. dataset: what errors call the samples.
    most: how many images go through the network at once.
    """

    model: nn.Module
    layers: Mapping[str, nn.Module]
    split: Split
    dataset: str
    precision: Precision
    most: int

    @property
    def kind(self) -> str:
        """Which kind of data it is for."""
        return kind_of(self.split)


def kind_of(split: Split) -> str:
    return IMAGES if split.clips is None else SOUNDS


def check_suits(name: str, tested: Tested) -> None:
    """Whether a perturbation can be measured on these samples.

    Raises:
        InputError: it is unknown, for another kind of data, or for images of other channels or sizes.
    """
    chosen([name], tested.kind, tested.dataset)
    channels, *size = tested.split.entry.shape
    if PERTURBATIONS[name].corruption and (channels not in (1, 3) or min(size) < LEAST):
        raise InputError(
            f"perturbation {name!r} needs grey or RGB images of at least {LEAST}x{LEAST} pixels, but dataset "
            f"{tested.dataset!r} has {channels} channels of {size[0]}x{size[1]}"
        )


def clean_accuracy(tested: Tested) -> float:
    """The accuracy on the samples as they are."""
    return _accuracy(tested, raw_batches(tested.split, BLOCK))


def accuracy_under(tested: Tested, name: str, level: float, draw: int = 0) -> float:
    """The accuracy at one level of one perturbation.

    Raises:
        InputError: an unknown perturbation, or a level that it does not have.
    """
    entry = check_level(name, level)
    batches = raw_batches(tested.split, BLOCK)
    if entry.acts_on == "weights":
        change, generator = entry.resolve(), _generator(name, draw)
        with changed_weights(_layers(tested, entry), lambda weights: change(weights, level, generator)):
            return _accuracy(tested, batches)
    if entry.acts_on == "gradients":
        return _accuracy(tested, _attacked(tested, batches, name, level, draw))
    return _accuracy(tested, perturbed(batches, name, level, draw))


def from_studied(tested: Tested) -> Tested:
    """What has the same accuracies under changes of the studied layers' weights, many times as fast where these are the
    last ones."""

    def batches() -> Iterator[Batch]:
        return _ready(tested, raw_batches(tested.split, BLOCK))

    rest, model = split_ahead(tested.model, tested.layers, tested.split, batches, tested.precision)
    return replace(tested, model=model, split=rest)


def perturbed(batches: Iterator[Batch], name: str, level: float, draw: int = 0) -> Iterator[Batch]:
    """Batches of ``raw_batches(split, BLOCK)`` with other images: float32, in [0, 1] or dB."""
    function = check_level(name, level).resolve()
    for number, batch in enumerate(batches):
        images = function(_floats(batch.images), level, _generator(name, draw, number))
        yield replace(batch, images=images)


def drawn(split: Split, part: str, samples: int) -> Split:
    """At most so many samples of a part, in its order: it may be in the order of its classes."""
    order = torch.randperm(len(split), generator=_generator("samples", part))
    return split.take(order[:samples].sort().values)


def _attacked(tested: Tested, batches: Iterator[Batch], name: str, level: float, draw: int) -> Iterator[Batch]:
    attack, entry = PERTURBATIONS[name].resolve(), tested.split.entry

    def logits(images: Tensor) -> Tensor:
        with tested.precision.autocast():
            found: Tensor = tested.model(tested.precision.images(normalise(images, entry)))
        return found

    tested.model.eval()
    for number, batch in enumerate(batches):
        generator = _generator(name, draw, number)
        pieces = zip(torch.split(_floats(batch.images), ATTACKED), torch.split(batch.labels, ATTACKED), strict=True)
        images = [attack(logits, images, labels, level, generator) for images, labels in pieces]
        yield replace(batch, images=torch.cat(images))


def _accuracy(tested: Tested, batches: Iterator[Batch]) -> float:
    return evaluate(tested.model, _ready(tested, batches), tested.precision).accuracy


def _ready(tested: Tested, batches: Iterator[Batch]) -> Iterator[Batch]:
    """Normalised, and no more images at once than fit; a clip's windows stay together."""
    for batch in batches:
        whole = replace(batch, images=normalise(batch.images, tested.split.entry))
        if batch.owner is not None or len(batch.labels) <= tested.most:
            yield whole
        else:
            pieces = zip(torch.split(whole.images, tested.most), torch.split(whole.labels, tested.most), strict=True)
            yield from (Batch(images, labels) for images, labels in pieces)


def _floats(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _generator(name: str, *parts: object) -> Generator:
    return Generator().manual_seed(derive_seed(SEED, name, *parts))


def _layers(tested: Tested, entry: Perturbation) -> list[nn.Module]:
    if entry.layers == "all":
        return [one for one in tested.model.modules() if isinstance(one, (*CONVOLUTIONS, nn.Linear))]
    return list(tested.layers.values())
