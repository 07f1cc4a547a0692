"""Units with known answers: responses that are laid out on an 11 x 11 grid, and the same ones shuffled."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from topotune.analysis.analyses import Settings
from topotune.analysis.places import Places
from topotune.analysis.units import Array, Units
from topotune.topography.positions import positions

SIDE = 11
MakePlaces = Callable[..., Places]
MakeUnits = Callable[..., Units]


@pytest.fixture(scope="session")
def make_places() -> MakePlaces:
    """Positions of an organisation; few permutations, so that tests are quick."""

    def make(topography: str = "grid2d", channels: int = SIDE**2, permutations: int = 200, seed: int = 0) -> Places:
        organisation = topography.partition("-")[0]
        return Places(topography, positions(organisation, channels).numpy(), permutations, seed)

    return make


@pytest.fixture(scope="session")
def grid(make_places: MakePlaces) -> Places:
    """121 units on a grid, as the second paper has them."""
    return make_places()


@pytest.fixture(scope="session")
def make_units() -> MakeUnits:
    """Units of any responses; what is not given is white noise, from a fixed seed."""

    def make(responses: Array, probes: Mapping[str, Array] = {}, **given: Any) -> Units:
        draw = np.random.default_rng(11)
        images, units = responses.shape
        known: dict[str, Any] = {
            "labels": np.arange(images) % 4, "classes": 4, "weights": draw.normal(size=(units, 20)),
            "settings": Settings(),
        }  # fmt: skip
        return Units(responses.astype(float), probe=probes.__getitem__, **(known | given))

    return make


@pytest.fixture(scope="session")
def blobs(grid: Places) -> Array:
    """(400, 121): each image excites the units around a point of the grid."""
    draw = np.random.default_rng(3)
    centres = draw.uniform(0, 1, (400, 2))
    apart = np.linalg.norm(centres[:, None] - grid.positions[None], axis=2)
    found: Array = np.exp(-(apart**2) / (2 * 0.15**2))
    return found


@pytest.fixture(scope="session")
def noise() -> Array:
    """(400, 121): nothing but noise."""
    return np.random.default_rng(4).normal(size=(400, SIDE**2))


@pytest.fixture(scope="session")
def shuffled(blobs: Array) -> Array:
    """(400, 121): the blobs' units, each in another's place."""
    return blobs[:, np.random.default_rng(5).permutation(SIDE**2)]
