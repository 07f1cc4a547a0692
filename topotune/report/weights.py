"""How trials are laid out along λ, and over which accuracies: the same in every figure of them."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from topotune.report.tables import Point


@dataclass(frozen=True)
class WeightAxis:
    """The λs of some trials, in order, and whether they come from a list of choices.

    Where they do, topographies are set side by side at each λ, and a line joins each one's best.
    """

    weights: tuple[float, ...]
    listed: bool

    @classmethod
    def of(cls, placed: Mapping[str, Sequence[Point]]) -> Self:
        """``placed``: the topographies that have a λ. Repeated λs come from a list of choices."""
        weights = tuple(sorted({point.weight for own in placed.values() for point in own if point.weight > 0}))
        return cls(weights, sum(map(len, placed.values())) >= 2 * len(weights))

    @property
    def joined(self) -> bool:
        """Whether a line joins the best of each λ."""
        return self.listed and len(self.weights) > 1

    @property
    def gap(self) -> float:
        """The smallest step between two λs, in decades."""
        steps = [math.log10(high / low) for low, high in itertools.pairwise(self.weights)]
        return min(steps, default=0.5)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the axis, a little beyond the λs."""
        around = 10 ** (0.5 * self.gap) if self.listed else 1.2
        return self.weights[0] / around, self.weights[-1] * around

    @property
    def ticks(self) -> list[float]:
        """Where the axis is labelled: at each λ of a list, if the labels have room, else at 1, 2 and 5 times the powers
        of ten, or these alone."""
        low, high = self.weights[0], self.weights[-1]
        decades = math.log10(high / low)
        # closer than a twelfth of the axis, and their labels would touch
        if len(self.weights) == 1 or (self.listed and self.gap > decades / 12):
            return list(self.weights)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1,) if decades > 3 else (1, 2, 5)
        every = [step * 10.0**power for power in powers for step in steps]
        found = [one for one in every if self.ends[0] <= one <= self.ends[1]]
        return found if len(found) > 1 else [low, high]

    def shift(self, place: int, count: int) -> float:
        """The factor on λ that sets one of ``count`` topographies beside the others."""
        return 10 ** (self.gap * 0.5 * ((place + 0.5) / count - 0.5)) if self.listed else 1.0


def best_of_each(points: Sequence[Point]) -> dict[float, float]:
    """λ -> the best accuracy of the complete trials, by λ."""
    return {point.weight: point.accuracy for point in sorted(points) if point.complete}  # the last of a λ is its best


@dataclass(frozen=True)
class Focus:
    """The accuracies in percent that an axis shows, and how many trials lie below them."""

    floor: float
    top: float
    hidden: int

    @property
    def note(self) -> str:
        """The trials below, in words; empty where there are none."""
        trials = "trial" if self.hidden == 1 else "trials"
        return f"{self.hidden} pruned {trials} below {self.floor:.1f}%" if self.hidden else ""


def focus(points: Sequence[Point]) -> Focus | None:
    """Let the complete trials fill the axis: pruned ones that ended far below are counted, not drawn."""
    if not points:
        return None
    every = [100 * point.accuracy for point in points]
    complete = [100 * point.accuracy for point in points if point.complete] or every
    span = max(max(complete) - min(complete), 1.0)
    near = [one for one in every if one >= min(complete) - span]
    floor = min(near) - 0.06 * span
    return Focus(floor, max(every) + 0.06 * span, sum(one < floor for one in every))
