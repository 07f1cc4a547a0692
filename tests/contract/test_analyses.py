"""Every analysis of ANALYSES of one layer: numbers, chance where positions matter, arrays to draw, odd layers too."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from topotune.analysis.analyses import ANALYSES
from topotune.analysis.places import Places
from topotune.analysis.stimuli import frequencies
from topotune.analysis.units import Array, Found, Units
from topotune.topography.positions import positions

NAMES = [name for name, one in ANALYSES.items() if not one.pairs]


def _units(responses: Array) -> Units:
    """Probes are noise that follows the responses' own scale."""
    draw, (images, count) = np.random.default_rng(1), responses.shape
    scale = responses.std(0)
    probes = {
        "mirrored": responses[::-1].copy(), "gratings": scale * draw.normal(size=(16, 5, 8, count)),
        "spots": scale * draw.normal(size=(8, 8, count)), "frequencies": frequencies(8, 8).numpy(),
    }  # fmt: skip
    return Units(responses, np.arange(images) % 3, 3, responses[:10].T.copy(), probes.__getitem__)


def _found(name: str, responses: Array, topography: str = "grid2d") -> Found:
    count = responses.shape[1]
    places = Places(topography, positions(topography, count).numpy(), permutations=40)
    function: Callable[..., Any] = ANALYSES[name].resolve()
    found: Found = function(_units(responses), places)
    return found


def _noise(units: int) -> Array:
    return np.random.default_rng(2).normal(size=(60, units))


@pytest.mark.parametrize("topography", ["grid2d", "sphere", "line"])
@pytest.mark.parametrize("name", NAMES)
def test_numbers_and_arrays(name: str, topography: str) -> None:
    found = _found(name, _noise(30), topography)
    assert any(one.chance for one in found.measures) == ANALYSES[name].spatial
    keys = [(one.name, one.at) for one in found.measures]
    assert len(set(keys)) == len(keys) > 0
    for one in found.measures:
        assert isinstance(one.value, float)
        json.dumps([one.at, one.chance])  # plain numbers, as a table takes them
        if one.chance and math.isfinite(one.chance.mean):
            assert one.chance.low <= one.chance.mean <= one.chance.high
    for array in found.maps.values():
        assert array.dtype.kind in "fi"
        assert array.shape[-1] in (30, 40)  # a number a unit, or a histogram


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_again(name: str) -> None:
    first, again = (_found(name, _noise(20)) for _ in range(2))
    assert repr(first.measures) == repr(again.measures)


@pytest.mark.parametrize("units", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_hardly_any_units(name: str, units: int) -> None:
    """Warnings are errors here: where there is nothing to take a mean of, there is no value."""
    assert _found(name, _noise(units)).measures


@pytest.mark.parametrize("name", NAMES)
def test_dead_units(name: str) -> None:
    """Some that never change among others, and nothing but such."""
    some = _noise(25)
    some[:, ::3] = 0.7
    assert _found(name, some).measures
    assert _found(name, np.full((60, 25), 0.7)).measures
