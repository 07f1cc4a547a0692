"""Correlations of units: against distance, their distribution, and localisation."""

from collections.abc import Callable

import numpy as np
import pytest

from topotune.analysis.correlation import THRESHOLDS, bimodality, correlation, localisation
from topotune.analysis.places import Places
from topotune.analysis.units import Array, Found, Measure, Units

MakePlaces = Callable[..., Places]
MakeUnits = Callable[..., Units]


def _named(found: Found, name: str) -> list[Measure]:
    return [one for one in found.measures if one.name == name]


def test_a_planted_map(grid: Places, make_units: MakeUnits, blobs: Array) -> None:
    """Correlation falls with distance, from far above chance to below it."""
    found = correlation(make_units(blobs), grid)
    (near,), (rank,), curve = (_named(found, name) for name in ("neighbours", "rank_correlation", "r"))
    assert [one.at for one in curve] == list(range(1, 15))
    values = [one.value for one in curve]
    assert values[:5] == sorted(values[:5], reverse=True)
    assert near.value > 0.8
    assert rank.value < -0.6
    for one in (near, curve[0]):
        assert one.chance is not None
        assert one.value > one.chance.high
    assert rank.chance is not None
    assert rank.value < rank.chance.low < 0 < rank.chance.high


@pytest.mark.parametrize("which", ["noise", "shuffled"])
def test_without_a_map_it_is_chance(
    which: str, grid: Places, make_units: MakeUnits, request: pytest.FixtureRequest
) -> None:
    found = correlation(make_units(request.getfixturevalue(which)), grid)
    for name in ("neighbours", "rank_correlation"):
        (one,) = _named(found, name)
        assert one.chance is not None
        assert one.chance.low <= one.value <= one.chance.high
    beyond = [
        one for one in _named(found, "r") if one.chance and not one.chance.low <= one.value <= one.chance.high
    ]  # of 14 bins, one in twenty
    assert len(beyond) <= 3


def test_bins_by_hand(make_places: MakePlaces, make_units: MakeUnits) -> None:
    """Four units on a line; r = 1 between the first two, −1 of both with the third, 0 with the constant fourth."""
    wave = np.array([1.0, -1.0, 2.0, -2.0])
    responses = np.stack([wave, 3 * wave + 1, -wave, np.full(4, 7.0)], 1)
    found = correlation(make_units(responses), make_places("line", 4))
    curve = {one.at: one.value for one in _named(found, "r")}
    assert curve == pytest.approx({1: (1 - 1 + 0) / 3, 2: (-1 + 0) / 2, 3: 0})
    assert _named(found, "neighbours")[0].value == pytest.approx(0)


def test_bimodality(make_units: MakeUnits, grid: Places) -> None:
    """Two camps of units are bimodal (5/9 is the uniform distribution's), unrelated units are not."""
    draw = np.random.default_rng(0)
    common = draw.normal(size=(500, 1))
    side = np.where(np.arange(60) < 30, 1, -1)
    two = bimodality(make_units(common * side + 0.3 * draw.normal(size=(500, 60))), grid)
    none = bimodality(make_units(draw.normal(size=(500, 60))), grid)
    assert two.measures[0].value > 0.9
    assert none.measures[0].value < 0.4
    assert two.maps["r_histogram"].sum() == 60 * 59 // 2
    assert two.measures[0].chance is None


def test_bimodality_of_a_uniform_distribution(make_units: MakeUnits, grid: Places) -> None:
    units = make_units(np.zeros((10, 60)))
    first, second = np.triu_indices(60, 1)
    units.correlations[first, second] = np.linspace(-1, 1, len(first))
    assert bimodality(units, grid).measures[0].value == pytest.approx(5 / 9, abs=0.002)


def test_localisation(grid: Places, make_units: MakeUnits, blobs: Array, shuffled: Array) -> None:
    """The more alike two units of a planted map, the closer they sit; shuffled, all pairs are as far as any."""
    found = localisation(make_units(blobs), grid)
    distances, pairs = _named(found, "distance"), _named(found, "pairs")
    assert [one.at for one in distances] == list(THRESHOLDS)
    values = [one.value for one in distances]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 2
    for one in distances:
        assert one.chance is not None
        assert one.value < one.chance.low
        assert one.chance.mean == pytest.approx(grid.distances.mean(), rel=0.02)
    shares = [one.value for one in pairs]
    assert shares == sorted(shares, reverse=True)
    for one in _named(localisation(make_units(shuffled), grid), "distance"):
        assert one.chance is not None
        assert one.chance.low <= one.value <= one.chance.high


def test_localisation_where_no_two_units_are_alike(grid: Places, make_units: MakeUnits, noise: Array) -> None:
    found = localisation(make_units(noise), grid)
    last = _named(found, "distance")[-1]
    assert np.isnan(last.value)
    assert last.chance is not None
    assert np.isnan(last.chance.mean)
    assert _named(found, "pairs")[-1].value == 0
