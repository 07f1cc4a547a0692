"""Which channels of a layer go first when it is pruned: one function for each criterion.

C output channels, E weights of each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from topotune.data.batches import derive_seed

NEAREST = 8  # the channels that can stand in for another: on a grid, those around it


@dataclass(frozen=True)
class Channels:
    """What a criterion may look at.

    name: of the layer. weights: (C, ...), without bias. places: (C, D), where the channels sit. seed: of the run.
    """

    name: str
    weights: Tensor
    places: Tensor
    seed: int

    @property
    def rows(self) -> Tensor:
        """(C, E), float64, on the CPU: the same order on every device."""
        return self.weights.detach().flatten(1).cpu().double()


def l2(channels: Channels) -> Tensor:
    """Least L2 norm of the weights first (Poli et al. 2022, section 3.4)."""
    norms: Tensor = channels.rows.norm(dim=1)
    return norms.argsort(stable=True)


def l1(channels: Channels) -> Tensor:
    """Least L1 norm of the weights first (Li et al. 2017, arXiv 1608.08710, section 3.1)."""
    return channels.rows.abs().sum(1).argsort(stable=True)


def random(channels: Channels) -> Tensor:
    """At random, by the run's seed and the layer's name."""
    generator = torch.Generator().manual_seed(derive_seed(channels.seed, "prune", channels.name))
    return torch.randperm(len(channels.weights), generator=generator)


def neighbour(channels: Channels) -> Tensor:
    """First the channel that its neighbours can best stand in for; the definition is ours.

    What is lost with channel c is ‖w_c‖ · √(1 − r²): the length of the part of its weights w_c that is no multiple
    of a neighbour's. r is the highest cosine between w_c and the weights of the 8 channels nearest to it that are
    still there, 0 where none is positive (after a ReLU, an opposite channel stands in for nothing). The channel with
    the least loss goes, the neighbours of those around it are looked for anew, and so on until none is left.
    Only weights and positions are read. Of equals, the first goes.
    """
    rows = channels.rows.numpy()  # torch's threads are slower than the few numbers of a step
    apart = cdist(channels.places.cpu(), channels.places.cpu())
    norms = np.linalg.norm(rows, axis=1)
    unit = rows / np.maximum(norms, np.finfo(float).tiny)[:, None]
    cosines = (unit @ unit.T).clip(0, 1)
    there, losses = np.ones(len(rows), dtype=bool), norms.copy()
    near = np.zeros(cosines.shape, dtype=bool)  # (C, C): who can stand in for whom
    np.fill_diagonal(apart, np.inf)
    changed, order = np.arange(len(rows)), []
    for left in range(len(rows), 0, -1):
        near[changed] = _nearest(apart[changed], min(NEAREST, left - 1))
        best = (cosines[changed] * near[changed]).max(axis=1, initial=0)
        losses[changed] = norms[changed] * np.sqrt(1 - best**2)
        gone = int(losses.argmin())
        order.append(gone)
        there[gone], losses[gone], apart[:, gone] = False, np.inf, np.inf
        changed = (there & near[:, gone]).nonzero()[0]
    return torch.tensor(order)


def _nearest(apart: NDArray[Any], many: int) -> NDArray[Any]:
    """Which of the channels are the ``many`` nearest, of equally near ones the first: (K, C) -> (K, C) bool."""
    near = np.zeros(apart.shape, dtype=bool)
    np.put_along_axis(near, apart.argsort(axis=1, kind="stable")[:, :many], True, axis=1)
    return near


Criterion = Callable[[Channels], Tensor]

# name -> function: all C channels of a layer, first the one that goes first: (C,) int64
CRITERIA: dict[str, Criterion] = {"l2": l2, "l1": l1, "random": random, "neighbour": neighbour}
