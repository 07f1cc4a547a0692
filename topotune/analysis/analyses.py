"""The analyses, by name, and their settings. Imports neither torch nor numpy, so that a wrong name is found at once.

Definitions: Moran's I and localisation as the code of Truong & Hasson (arXiv 2508.00043); what their code does not hold
is defined by us, where each function says so.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from topotune.errors import InputError, unknown

LEAST_IMAGES = 10


@dataclass(frozen=True)
class Analysis:
    """One analysis of one layer.

    function: path of a function (Units, Places) -> Found; of ``similarity``, which takes models two and two, of
        (Signature, Signature) -> measures.
    spatial: whether it has measures that depend on the units' positions.
    pictures: whether its stimuli mean anything for pictures only, and nothing for spectrograms.
    pairs: whether it compares models.
    """

    function: str
    spatial: bool = True
    pictures: bool = False
    pairs: bool = False

    def resolve(self) -> Callable[..., Any]:
        """The function itself."""
        found: Callable[..., Any] = resolve_name(self.function)
        return found


_HERE = "topotune.analysis"

ANALYSES: dict[str, Analysis] = {
    "correlation": Analysis(f"{_HERE}.correlation:correlation"),
    "bimodality": Analysis(f"{_HERE}.correlation:bimodality", spatial=False),
    "localisation": Analysis(f"{_HERE}.correlation:localisation"),
    "moran": Analysis(f"{_HERE}.smoothness:smoothness"),
    "dimensionality": Analysis(f"{_HERE}.dimensionality:dimensionality", spatial=False),
    "sensitivity": Analysis(f"{_HERE}.sensitivity:sensitivity"),
    "experts": Analysis(f"{_HERE}.experts:experts"),
    "orientation": Analysis(f"{_HERE}.orientation:orientation", pictures=True),
    "symmetry": Analysis(f"{_HERE}.symmetry:symmetry", pictures=True),
    "eccentricity": Analysis(f"{_HERE}.eccentricity:eccentricity", pictures=True),
    "maps": Analysis(f"{_HERE}.maps:maps"),
    "similarity": Analysis(f"{_HERE}.similarity:similarity", spatial=False, pairs=True),
}


@dataclass(frozen=True)
class Settings:
    """What the numbers depend on, beside the network and the data.

    images: at most so many of the test part, drawn once for all networks; 0 for all.
    permutations: of the positions, for the level of chance.
    seed: of the permutations.
    expert: the AUROC from which on a unit is an expert.

    Raises:
        InputError: a value is out of range.
    """

    images: int = 2000
    permutations: int = 1000
    seed: int = 0
    expert: float = 0.9

    def __post_init__(self) -> None:
        if self.images != 0 and self.images < LEAST_IMAGES:
            raise InputError(f"--images {self.images}: must be at least {LEAST_IMAGES}, or 0 for the whole test part")
        if self.permutations < 1:
            raise InputError(f"--permutations {self.permutations}: must be at least 1")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: must be at least 0")
        if not (math.isfinite(self.expert) and 0.5 < self.expert <= 1):
            raise InputError(f"--expert {self.expert:g}: must be an AUROC, above 0.5 and at most 1")

    @property
    def words(self) -> str:
        """As they stand in the table."""
        return f"images={self.images or 'all'} permutations={self.permutations} seed={self.seed} expert={self.expert:g}"


def named(text: str) -> tuple[str, ...]:
    """The names in ``a,b``, as the command line takes them; ``all`` for every one that suits.

    Raises:
        InputError: a name is unknown or stands there twice.
    """
    names = [one.strip() for one in text.split(",")]
    if names == ["all"]:
        return ()
    for name in names:
        if name not in ANALYSES:
            raise unknown("analysis", name, ("all", *ANALYSES), "--analyses")
        if names.count(name) > 1:
            raise InputError(f"--analyses: {name!r} stands there twice")
    return tuple(names)


def chosen(names: Sequence[str], pictures: bool, dataset: str) -> tuple[str, ...]:
    """The analyses of a network of this data; none means all that suit.

    Raises:
        InputError: one needs pictures, and these are none.
    """
    suitable = tuple(name for name, one in ANALYSES.items() if pictures or not one.pictures)
    for name in names:
        if name not in suitable:
            raise InputError(
                f"analysis {name!r} needs pictures, and dataset {dataset!r} holds sounds; choose from "
                f"{', '.join(suitable)}"
            )
    return tuple(name for name in suitable if not names or name in names)
