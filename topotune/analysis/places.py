"""Where a layer's units sit, and what would be found if their positions were shuffled.

C units, D dimensions, K pairs of neighbours, P pairs of units, B values of a statistic.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.spatial.distance import pdist, squareform

from topotune.analysis.units import Array, Chance, Measure
from topotune.topography import POSITIONS, arrangement_of
from topotune.topography.targets import neighbour_pairs

BINS = 10  # of the distances where there is no lattice, whose steps they are
MIDDLE = (2.5, 97.5)  # percentiles

Statistic = Callable[[Array], Array]


@dataclass(frozen=True)
class Places:
    """Positions of C units, and permutations of them.

    topography: their name, which says whether they are a lattice's.
    positions: (C, D) float64.
    permutations, seed: how many are drawn, and from what.
    """

    topography: str
    positions: Array
    permutations: int = 1000
    seed: int = 0

    @property
    def lattice(self) -> bool:
        """Whether these are points of a regular lattice, whose next neighbours are 1 apart."""
        return POSITIONS[arrangement_of(self.topography)[0]].lattice

    @cached_property
    def pairs(self) -> Array:
        """(2, P): every pair of units once."""
        return np.stack(np.triu_indices(len(self.positions), 1))

    @cached_property
    def distances(self) -> Array:
        """(P,) Euclidean distances of the pairs: in steps on a lattice, elsewhere in the unit of the positions."""
        apart: Array = pdist(self.positions)
        return apart / pdist(self.positions, "chebyshev").min() if self.lattice and len(apart) else apart

    @cached_property
    def neighbours(self) -> Array:
        """(2, K): the pairs of next neighbours, 8 a unit inside a grid. Where there is no lattice, a unit's are the
        2·D nearest ones and those whose nearest it is (our definition)."""
        if self.lattice:
            found: Array = neighbour_pairs(torch.from_numpy(self.positions)).numpy()
            return found
        apart = squareform(self.distances) if len(self.positions) > 1 else np.zeros((1, 1))
        np.fill_diagonal(apart, np.inf)
        near = np.zeros(apart.shape, dtype=bool)
        many = min(2 * self.positions.shape[1], len(apart) - 1)
        np.put_along_axis(near, apart.argsort(1, kind="stable")[:, :many], True, 1)
        return np.stack(np.nonzero(np.triu(near | near.T, 1)))

    @cached_property
    def bins(self) -> tuple[Array, Array]:
        """(P,), in which bin a pair's distance falls, and (bins,) their middles, without empty ones: whole steps on a
        lattice, else BINS bins of equal width."""
        width = 1.0 if self.lattice else self.distances.max(initial=0.0) / BINS or 1.0
        number = np.floor(self.distances / width + 0.5 * self.lattice).astype(int)
        if not self.lattice:
            number = np.minimum(number, BINS - 1)  # the greatest distance is in the last bin
        known, index = np.unique(number, return_inverse=True)
        return index, (known + 0.5 * (not self.lattice)) * width

    @cached_property
    def squares(self) -> Array:
        """(Q, 4): the units around each square of a flat lattice's, one after the other; none elsewhere."""
        if not self.lattice or self.positions.shape[1] != 2 or len(self.positions) < 4:
            return np.empty((0, 4), dtype=int)
        step = pdist(self.positions, "chebyshev").min()
        at = {
            (column, row): unit
            for unit, (column, row) in enumerate(np.rint(self.positions / step).astype(int).tolist())
        }
        corners = [[(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)] for x, y in at]
        whole = [[at[corner] for corner in own] for own in corners if all(corner in at for corner in own)]
        return np.array(whole, dtype=int).reshape(-1, 4)

    @cached_property
    def orders(self) -> Array:
        """(permutations, C): which unit is where."""
        own = np.tile(np.arange(len(self.positions)), (self.permutations, 1))
        return np.random.default_rng(self.seed).permuted(own, axis=1)

    def against_chance(self, statistic: Statistic) -> list[tuple[float, Chance]]:
        """The B values of a statistic, each with what it comes to where positions are shuffled.

        statistic: (C,) -> (B,), where the argument says which unit sits at each position.
        """
        own = statistic(np.arange(len(self.positions)))
        drawn = np.stack([statistic(order) for order in self.orders])  # (permutations, B)
        return [(float(value), _range(column)) for value, column in zip(own, drawn.T, strict=True)]

    def measure(self, name: str, statistic: Callable[[Array], float]) -> Measure:
        """A statistic of one value."""
        ((value, chance),) = self.against_chance(lambda order: np.array([statistic(order)]))
        return Measure(name, value, chance=chance)


def _range(drawn: Array) -> Chance:
    """Over the permutations for which there is a value at all."""
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return Chance(np.nan, np.nan, np.nan)
    low, high = np.percentile(known, MIDDLE)
    return Chance(float(known.mean()), float(low), float(high))
