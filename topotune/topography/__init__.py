"""Where channels sit: one function for each organisation, and what a loss makes of the positions."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Organisation:
    """One way to lay channels out.

    build: path of a function (channels, **options) -> positions; a path, so that reading the names imports no torch.
    options: the keyword arguments that the function knows; they are settings of a trial, too.
    lattice: whether the points are those of a regular lattice, so that each has next neighbours.
    """

    build: str
    options: tuple[str, ...] = ()
    lattice: bool = False


_HERE = "topotune.topography.positions"

POSITIONS: dict[str, Organisation] = {
    "grid2d": Organisation(f"{_HERE}:grid2d", options=("grid_divisor",), lattice=True),
    "grid3d": Organisation(f"{_HERE}:grid3d", options=("grid_divisor",), lattice=True),
    "circle": Organisation(f"{_HERE}:circle", options=("radius",)),
    "sphere": Organisation(f"{_HERE}:sphere", options=("radius",)),
    "nested2d": Organisation(f"{_HERE}:nested2d", options=("nested_factor",)),
    "nested3d": Organisation(f"{_HERE}:nested3d", options=("nested_factor",)),
    "line": Organisation(f"{_HERE}:line", lattice=True),
    "sheet": Organisation(f"{_HERE}:sheet", lattice=True),
}

GRID_DIVISORS = ("n-1", "n")

DISTANCES = ("euclidean", "l1")

# fixed: channel i has position i. learned: channels swap positions while the network trains.
# assigned: a control is trained, and its channels are given positions afterwards.
ARRANGEMENTS = ("fixed", "learned", "assigned")

# what a trial can be about: an organisation, alone or with how its positions are handed out
TOPOGRAPHIES = (*POSITIONS, *(f"{name}-{way}" for way in ARRANGEMENTS[1:] for name in POSITIONS))


def arrangement_of(topography: str) -> tuple[str, str]:
    """The organisation and the arrangement that a topography's name stands for: ``grid2d-learned`` -> both words.

    What a variant's name has behind it (``grid2d-learned loss=ws``) does not count.
    """
    organisation, _, way = topography.partition(" ")[0].partition("-")
    return organisation, way or ARRANGEMENTS[0]
