"""Changes of a trained network's weights. The definitions are our own.

Biases stay. In a compact network (``models/compact.py``) what constant channels add is bias, at the borders too: it is
changed as a network of its own, not as the masked one, whose weights for these channels change with the others.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

Change = Callable[[Tensor], Tensor]


def multiply(weights: Tensor, level: float, generator: Generator) -> Tensor:
    """Each weight times 1 + level · N(0, 1)."""
    return weights * (1 + level * torch.randn(weights.shape, generator=generator).to(weights.device))


def quantise(weights: Tensor, bits: int, _generator: Generator) -> Tensor:
    """Weights (C, …) as signed integers of so many bits, symmetric about 0, would hold them: for each output channel a
    step of max |w| / (2^(bits−1) − 1), to whose multiples they are rounded. The computation stays in floating point."""
    most = 2 ** (int(bits) - 1) - 1
    step = weights.flatten(1).abs().amax(1).div(most).view(-1, *(1,) * (weights.dim() - 1))
    return (weights / step.where(step > 0, 1.0)).round() * step


@contextmanager
def changed_weights(layers: Iterable[nn.Module], change: Change) -> Iterator[None]:
    """Within it, the layers' weights (not their biases) are ``change`` of what they were, layer after layer; afterwards
    they are as before."""
    kept: list[tuple[Tensor, Tensor]] = []
    try:
        with torch.no_grad():
            for layer in layers:
                weights = layer.weight
                assert isinstance(weights, Tensor)
                kept.append((weights, weights.clone()))
                weights.copy_(change(weights))
        yield
    finally:
        with torch.no_grad():
            for weights, before in kept:
                weights.copy_(before)
