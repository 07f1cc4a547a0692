"""Moran's I against esda and by hand, and what it says of smooth, noisy and shuffled maps."""

from collections.abc import Callable

import numpy as np
import pytest
from esda.moran import Moran
from hypothesis import given, settings
from hypothesis import strategies as st
from libpysal.weights import W, lat2W

from topotune.analysis.places import Places
from topotune.analysis.smoothness import moran, neighbour_difference, smoothness
from topotune.analysis.units import Array, Units

MakePlaces = Callable[..., Places]
MakeUnits = Callable[..., Units]


def test_against_esda_on_the_second_papers_grid(grid: Places, blobs: Array, noise: Array) -> None:
    """Eight neighbours, binary weights: the same as esda's for one map, and the mean over several."""
    queen = lat2W(11, 11, rook=False)
    assert queen.s0 == 840
    maps = np.concatenate([blobs[:5], noise[:5]])
    theirs = [Moran(one, queen, transformation="b", permutations=0).I for one in maps]
    assert [moran("i", one, grid).value for one in maps] == pytest.approx(theirs, abs=1e-12)
    assert moran("i", maps, grid).value == pytest.approx(np.mean(theirs), abs=1e-12)


def test_against_esda_where_there_is_no_lattice(make_places: MakePlaces) -> None:
    places = make_places("sphere", 50)
    near: dict[int, list[int]] = {unit: [] for unit in range(50)}
    for one, other in places.neighbours.T.tolist():
        near[one].append(other)
        near[other].append(one)
    values = np.random.default_rng(0).normal(size=50)
    theirs = Moran(values, W(near), transformation="b", permutations=0).I
    assert moran("i", values, places).value == pytest.approx(theirs, abs=1e-12)


def test_known_maps(grid: Places) -> None:
    """A blob is smooth; a chessboard's eight neighbours are half like, half unlike, but for the border; columns of
    opposite sign repel."""
    apart = np.linalg.norm(grid.positions - 0.5, axis=1)
    assert moran("i", np.exp(-((apart / 0.2) ** 2)), grid).value > 0.8
    column = np.rint(grid.positions[:, 0] * 10)
    assert moran("i", (-1.0) ** column, grid).value < -0.3


def test_chance(grid: Places, make_units: MakeUnits, blobs: Array, noise: Array, shuffled: Array) -> None:
    """A planted map is far beyond it; noise, and the planted map's units in other places, are within."""
    (planted,) = smoothness(make_units(blobs), grid).measures
    assert planted.chance is not None
    assert planted.value > 0.7 > 0.1 > planted.chance.high
    assert planted.chance.mean == pytest.approx(-1 / 120, abs=0.01)
    for responses in (noise, shuffled):
        (one,) = smoothness(make_units(responses), grid).measures
        assert one.chance is not None
        assert one.chance.low <= one.value <= one.chance.high


@given(st.integers(0, 10**6), st.floats(0.1, 50), st.floats(-50, 50))
@settings(max_examples=20, deadline=None)
def test_scale_and_offset_do_not_matter(seed: int, scale: float, offset: float) -> None:
    places = Places("grid2d", np.stack(np.divmod(np.arange(16), 4)[::-1], 1) / 3, permutations=1)
    values = np.random.default_rng(seed).normal(size=16)
    assert moran("i", scale * values + offset, places).value == pytest.approx(moran("i", values, places).value)


def test_maps_that_say_nothing(grid: Places, blobs: Array) -> None:
    """The same everywhere: left out of the mean; alone, no value."""
    both = np.stack([blobs[0], np.full(121, 0.1)])
    assert moran("i", both, grid).value == pytest.approx(moran("i", blobs[0], grid).value)
    assert np.isnan(moran("i", np.full(121, 0.1), grid).value)


def test_neighbours_preferences(grid: Places) -> None:
    """The column of a unit differs by 0 in 110 pairs of neighbours, and by 1 in 310; unknown ones are left out."""
    column = np.rint(grid.positions[:, 0] * 10)
    apart = np.abs(column[:, None] - column[None])
    found = neighbour_difference(apart, grid)
    assert found.value == pytest.approx(310 / 420)
    assert found.chance is not None
    assert found.chance.low > 3
    unknown = np.where((column[:, None] > 4) | (column[None] > 4), np.nan, apart)
    assert neighbour_difference(unknown, grid).value == pytest.approx((4 * 11 + 4 * 20) / (5 * 10 + 4 * 11 + 4 * 20))
    assert np.isnan(neighbour_difference(np.full((121, 121), np.nan), grid).value)
