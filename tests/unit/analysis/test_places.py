"""Positions: distances in steps, neighbours, bins, squares; and chance by permutation."""

from collections.abc import Callable

import numpy as np
import pytest

from topotune.analysis.places import Places

MakePlaces = Callable[..., Places]


def test_a_grid(grid: Places) -> None:
    """Neighbouring rows are 1 apart, 420 pairs are neighbours, and 100 squares have four units around them."""
    assert grid.pairs.shape == (2, 121 * 120 // 2)
    assert grid.distances.min() == pytest.approx(1)
    assert grid.distances.max() == pytest.approx(10 * np.sqrt(2))
    assert grid.neighbours.shape == (2, 420)
    assert grid.squares.shape == (100, 4)
    assert grid.squares[0].tolist() == [0, 1, 12, 11]  # around, not across
    index, middles = grid.bins
    assert middles.tolist() == list(range(1, 15))
    assert np.abs(middles[index] - grid.distances).max() <= 0.5 + 1e-9


def test_a_grid_with_a_last_row_that_is_not_full(make_places: MakePlaces) -> None:
    places = make_places(channels=8)  # 3 x 3 without the last
    assert places.squares.tolist() == [[0, 1, 4, 3], [1, 2, 5, 4], [3, 4, 7, 6]]


@pytest.mark.parametrize(("name", "each"), [("circle", 4), ("sphere", 6), ("nested2d", 4)])
def test_where_there_is_no_lattice(make_places: MakePlaces, name: str, each: int) -> None:
    """Every unit has its 2·D nearest; the bins share out the range of the distances; there are no squares."""
    places = make_places(name, 40)
    degree = np.bincount(places.neighbours.flatten(), minlength=40)
    assert degree.min() >= each
    if name == "circle":
        assert set(degree) == {each}  # two on either side
    index, middles = places.bins
    width = places.distances.max() / 10
    assert len(middles) <= 10
    assert np.abs(middles[index] - places.distances).max() <= width / 2 + 1e-9
    assert len(places.squares) == 0


@pytest.mark.parametrize("name", ["grid2d", "circle", "grid3d", "line", "sheet"])
@pytest.mark.parametrize("channels", [1, 2])
def test_hardly_any_units(make_places: MakePlaces, name: str, channels: int) -> None:
    places = make_places(name, channels)
    pairs = channels - 1
    assert places.pairs.shape == places.neighbours.shape == (2, pairs)
    assert places.distances.shape == places.bins[0].shape == places.bins[1].shape == (pairs,)


def test_a_plane_of_a_cube_has_no_squares(make_places: MakePlaces) -> None:
    assert len(make_places("grid3d", 27).squares) == 0
    assert make_places("grid3d", 27).neighbours.shape == (2, 158)


def test_permutations_are_drawn_from_the_seed(make_places: MakePlaces) -> None:
    first, again, other = (make_places(seed=seed).orders for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(np.sort(first, axis=1), np.tile(np.arange(121), (200, 1)))


def test_chance_of_a_statistic_that_is_known(make_places: MakePlaces) -> None:
    """Which unit sits first: uniform over the units, so that its mean is 60 and its 95% are 3 … 117."""
    places = make_places(permutations=4000)
    (first, fixed, never) = places.against_chance(lambda order: np.array([order[0], 7.0, np.nan]))
    assert first[0] == 0
    assert first[1] == pytest.approx((60, 3, 117), abs=3)
    assert fixed == (7.0, (7.0, 7.0, 7.0))
    assert np.isnan(never[0])
    assert np.isnan(never[1]).all()
