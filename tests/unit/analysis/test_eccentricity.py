"""Eccentricity: units that prefer a known distance from the centre."""

from collections.abc import Callable

import numpy as np
import pytest

from topotune.analysis import stimuli
from topotune.analysis.eccentricity import eccentricity
from topotune.analysis.places import Places
from topotune.analysis.units import Units

DISTANCES = stimuli.eccentricities().numpy()


def test_a_planted_map(grid: Places, make_units: Callable[..., Units]) -> None:
    """Units in the middle of the grid prefer the centre of the image, those at its corners the edge."""
    far = np.linalg.norm(grid.positions - 0.5, axis=1)
    preferred = np.rint(far / far.max() * 7).astype(int)
    profile = np.exp(-((np.arange(8)[:, None] - preferred) ** 2) / 2)  # (8, C)
    spots = np.repeat(profile[:, None], 8, axis=1) * np.linspace(1, 9, 121)
    found = eccentricity(make_units(np.zeros((12, 121)), {"spots": spots}), grid)
    np.testing.assert_allclose(found.maps["eccentricity"], DISTANCES[preferred])
    named = {one.name: one for one in found.measures if one.at is None}
    assert named["preferred"].value == pytest.approx(DISTANCES[preferred].mean())
    near = named["neighbour_difference"]
    assert near.chance is not None
    assert near.value < near.chance.low
    means = {one.at: one.value for one in found.measures if one.name == "profile"}
    assert list(means) == pytest.approx(list(DISTANCES))
    assert list(means.values()) == pytest.approx(profile.mean(1))


def test_units_that_do_not_see_the_spot(grid: Places, make_units: Callable[..., Units]) -> None:
    found = eccentricity(make_units(np.zeros((12, 121)), {"spots": np.zeros((8, 8, 121))}), grid)
    named = {one.name: one.value for one in found.measures if one.at is None}
    assert np.isnan(list(named.values())).all()
    assert all(one.value == 0 for one in found.measures if one.at is not None)
