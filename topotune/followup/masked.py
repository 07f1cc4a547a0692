"""Accuracy of one network with channels at zero, cut after cut, without computing twice what no cut changes.

What comes before the first layer that is cut is computed once, where its outputs are small enough to be kept. In
float32 on a CPU, a network that is much smaller without the channels is evaluated in its place (``models/compact.py``):
its logits are the masked ones to 1e-5 of the largest, so that an image may be judged otherwise only where its two best
classes are closer than that.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from topotune.data.batches import Batch, evaluation_batches
from topotune.data.splits import Split
from topotune.followup.ahead import run_ahead
from topotune.models.compact import compact
from topotune.training.device import LAYOUT, Precision
from topotune.training.loop import evaluate

WORTH = 5e11  # multiply-adds of an evaluation from which on a smaller network is worth the seconds that making it takes
SMALL = 0.9  # of the multiply-adds: a smaller network that has more is no quicker


@torch.no_grad()
def zero(layers: Mapping[str, nn.Module], channels: Mapping[str, Sequence[int]]) -> None:
    """Set weights and biases of these output channels to zero."""
    for name, layer in layers.items():
        for tensor in tensors_of(layer):
            tensor[list(channels[name])] = 0


@contextmanager
def zeroed(layers: Mapping[str, nn.Module], channels: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """Within it, these output channels of the layers are zero; afterwards the weights are as before."""
    kept = [(tensor, tensor.detach().clone()) for layer in layers.values() for tensor in tensors_of(layer)]
    try:
        zero(layers, channels)
        yield
    finally:
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)


def tensors_of(layer: nn.Module) -> list[Tensor]:
    """A layer's weights (C, ...), and its bias (C,) where it has one."""
    return [one for one in (layer.weight, layer.bias) if isinstance(one, Tensor)]


@torch.no_grad()
def multiply_adds(network: nn.Module, images: Tensor) -> int:
    """Of one image; ``images``: at least one, (N, C, H, W)."""
    with FlopCounterMode(display=False) as counter:
        network(images[:1])
    return int(counter.get_total_flops()) // 2


class Masked:
    """One network whose layers are cut in several ways, and the samples that it is tested on.

    Args:
        model: on the device.
        layers: those that are cut, by their names.
        split: the samples, on the device.
        precision: of the evaluation.
        at_once: how many images go through the network together.
    """

    def __init__(
        self, model: nn.Module, layers: Mapping[str, nn.Module], split: Split, precision: Precision, at_once: int
    ) -> None:
        self._model, self._layers, self._precision = model, dict(layers), precision
        self._split, self._at_once = split, at_once

    def accuracy(self, gone: Mapping[str, Sequence[int]]) -> float:
        """With these output channels of the layers at zero."""
        small = self._small(gone)
        with zeroed(self._layers, gone):
            network = self._rest[1] if small is None else small
            return evaluate(network, self._batches(), self._precision).accuracy

    @cached_property
    def _rest(self) -> tuple[list[Batch] | None, nn.Module]:
        """What is kept of the samples, batch by batch, and the network that takes it from there."""
        return run_ahead(self._model, self._layers, self._images, len(self._split), self._precision)

    def _batches(self) -> Iterator[Batch]:
        kept = self._rest[0]
        return self._images() if kept is None else iter(kept)

    def _images(self) -> Iterator[Batch]:
        return evaluation_batches(self._split, self._at_once)

    def _small(self, gone: Mapping[str, Sequence[int]]) -> nn.Module | None:
        """The network without the channels, where that is quicker."""
        if self._precision.bfloat16 or self._precision.device.type != "cpu" or not any(gone.values()):
            return None
        if self._cost * self._many < WORTH:
            return None
        share = max(len(own) / self._channels(name) for name, own in gone.items())
        # in a layer, the products of channels in and channels out grow fewer by twice that share at most
        if 1 - min(2 * share, 1) * (1 - self._least) >= SMALL:
            return None
        small = self._without(gone)
        return small if multiply_adds(small, self._image) < SMALL * self._cost else None

    def _without(self, gone: Mapping[str, Sequence[int]]) -> nn.Module:
        made: nn.Module = compact(self._rest[1], gone, self._image)
        return made.to(memory_format=LAYOUT)  # type: ignore[call-overload,no-any-return]

    def _channels(self, name: str) -> int:
        return len(tensors_of(self._layers[name])[0])

    @cached_property
    def _many(self) -> float:
        """How many images an evaluation has: of sounds, the windows of all clips, about."""
        batch = next(self._images())
        return len(batch.images) / len(batch.labels) * len(self._split)

    @property
    def _image(self) -> Tensor:
        """One of those that the rest of the network is given."""
        return next(self._batches()).images[:1]

    @cached_property
    def _cost(self) -> int:
        """Multiply-adds of one image."""
        return multiply_adds(self._rest[1], self._image)

    @cached_property
    def _least(self) -> float:
        """The share of them that is left without any of the channels."""
        nothing = self._without({name: range(self._channels(name)) for name in self._layers})
        return multiply_adds(nothing, self._image) / self._cost
