"""What an analysis is given and gives: one layer's units, and what was found of them.

N images, C units, E incoming weights of a unit, K classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray

from topotune.analysis.analyses import Settings
from topotune.losses.neighbours import correlations

Array = NDArray[Any]


class Chance(NamedTuple):
    """A measure where units have one another's positions: its mean, and the range of the middle 95%."""

    mean: float
    low: float
    high: float


class Measure(NamedTuple):
    """One number. ``at`` says of what, where there are several: a distance, a threshold, a class. Those that depend on
    positions have a level of chance."""

    name: str
    value: float
    at: float | int | None = None
    chance: Chance | None = None


@dataclass(frozen=True)
class Found:
    """What an analysis found: numbers, and arrays to draw, of which one a unit is (C,)."""

    measures: list[Measure]
    maps: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Units:
    """The units of one layer. The response of a fully connected unit is its output before the activation; that of a
    convolution's channel the spatial mean of its output, before normalisation and activation.

    responses: (N, C) float64, to images of the test part. labels: (N,), their classes. classes: K.
    weights: (C, E), without bias.
    probe: the responses to other stimuli, by their name: see ``stimuli``.
    """

    responses: Array
    labels: Array
    classes: int
    weights: Array
    probe: Callable[[str], Array]
    settings: Settings = field(default_factory=Settings)

    @property
    def count(self) -> int:
        """C."""
        return int(self.responses.shape[1])

    @cached_property
    def correlations(self) -> Array:
        """(C, C) Pearson correlations over the images; a unit that does not vary has 0 with any other."""
        found: Array = correlations(torch.from_numpy(self.responses)).numpy()
        return found
