"""Orientation tuning of units whose preference is planted: a smooth map, a pinwheel, and shuffled ones."""

from collections.abc import Callable

import numpy as np
import pytest

from topotune.analysis import stimuli
from topotune.analysis.orientation import angle_between, orientation, pinwheels, preference, tuning_curves
from topotune.analysis.places import Places
from topotune.analysis.units import Array, Found, Measure, Units

MakeUnits = Callable[..., Units]
ANGLES = stimuli.orientations().numpy()


def _responses(preferred: Array, sharpness: float = 1.0, frequency: int = 2) -> Array:
    """(16, 5, 8, C): cosine tuning around a preference, strongest at one frequency, with an offset of its own."""
    tuned = sharpness * np.cos(2 * (ANGLES[:, None] - preferred))
    strength = np.where(np.arange(5) == frequency, 1.0, 0.3)
    phases = 0.2 * np.sin(np.arange(8) * np.pi / 4)
    return tuned[:, None, None] * strength[:, None, None] + phases[:, None] - 5.0


def _of(preferred: Array, make_units: MakeUnits, places: Places) -> dict[str, Measure]:
    probes = {"gratings": _responses(preferred), "frequencies": stimuli.frequencies(28, 28).numpy()}
    found: Found = orientation(make_units(np.zeros((12, 121)), probes), places)
    np.testing.assert_allclose(angle_between(found.maps["orientation"], preferred), 0, atol=1e-9)
    return {one.name: one for one in found.measures}


def test_preference_and_circular_variance() -> None:
    """Cosine tuning, its lowest value taken off, has the circular variance 1/2; one orientation alone 0."""
    preferred = np.array([0.0, 0.3, np.pi / 2, 3.0])
    curves, frequency = tuning_curves(_responses(preferred))
    assert (frequency == 2).all()
    angle, variance = preference(curves)
    np.testing.assert_allclose(angle_between(angle, preferred), 0, atol=1e-9)
    assert variance == pytest.approx([0.5] * 4, abs=0.01)
    angle, variance = preference(np.eye(16)[:, [5]])
    assert angle[0] == pytest.approx(ANGLES[5])
    assert variance[0] == pytest.approx(0)


def test_a_unit_that_does_not_care_has_no_preference(grid: Places, make_units: MakeUnits) -> None:
    responses = _responses(np.zeros(121), sharpness=0.0)
    probes = {"gratings": responses, "frequencies": np.arange(5.0)}
    found = {one.name: one.value for one in orientation(make_units(np.zeros((12, 121)), probes), grid).measures}
    assert found["tuned"] == 0
    assert np.isnan(found["circular_variance"])
    assert np.isnan(found["neighbour_difference"])
    assert np.isnan(found["frequency"])
    assert np.isnan(found["pinwheels"])


def test_only_tuned_units_have_a_frequency(grid: Places, make_units: MakeUnits) -> None:
    responses = _responses(np.linspace(0, 3, 121))
    responses[..., 60:] = 1.0
    probes = {"gratings": responses, "frequencies": np.arange(1.0, 6.0)}
    found = {one.name: one.value for one in orientation(make_units(np.zeros((12, 121)), probes), grid).measures}
    assert found["tuned"] == pytest.approx(60 / 121)
    assert found["frequency"] == pytest.approx(3)


def test_a_smooth_map_and_the_same_one_shuffled(grid: Places, make_units: MakeUnits) -> None:
    x, y = grid.positions.T
    preferred = (0.1 + 0.9 * x + 0.6 * y) % np.pi
    smooth = _of(preferred, make_units, grid)
    near = smooth["neighbour_difference"]
    assert near.chance is not None
    assert near.value < 8 < near.chance.low
    assert smooth["pinwheels"].value == 0
    assert smooth["frequency"].value == pytest.approx(7**0.5)
    other = _of(np.random.default_rng(1).permutation(preferred), make_units, grid)
    for name in ("neighbour_difference", "pinwheels"):
        one = other[name]
        assert one.chance is not None
        assert one.chance.low <= one.value <= one.chance.high


def test_one_pinwheel(grid: Places, make_units: MakeUnits) -> None:
    """Preferences that turn once around a point between four units, in either direction."""
    x, y = (grid.positions - 0.45).T
    around = np.arctan2(y, x) / 2 % np.pi
    for preferred in (around, -around % np.pi):
        assert _of(preferred, make_units, grid)["pinwheels"].value == 1


def test_a_square_by_hand() -> None:
    turned = np.radians([[0, 45, 90, 135], [0, 10, 20, 10], [0, 135, 90, 45], [0, 45, 90, np.nan]])
    assert pinwheels(turned) == 2


def test_pinwheels_of_random_preferences(grid: Places) -> None:
    """One square in three, where preferences are uniform and have nothing to do with one another."""
    draw = np.random.default_rng(2)
    share = [pinwheels(draw.uniform(0, np.pi, 121)[grid.squares]) / 100 for _ in range(200)]
    assert np.mean(share) == pytest.approx(1 / 3, abs=0.02)


def test_there_are_none_where_there_is_no_plane(make_units: MakeUnits, make_places: Callable[..., Places]) -> None:
    probes = {"gratings": _responses(np.linspace(0, 3, 27)), "frequencies": np.arange(5.0)}
    places = make_places("grid3d", 27)
    names = [one.name for one in orientation(make_units(np.zeros((12, 27)), probes), places).measures]
    assert "pinwheels" not in names
    assert "neighbour_difference" in names
