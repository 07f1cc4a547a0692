"""Symmetry sensitivity of units that are known to see the mirror image as the image, as its opposite, or not at all."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import pearsonr

from topotune.analysis.places import Places
from topotune.analysis.symmetry import paired_correlation, symmetry
from topotune.analysis.units import Array, Units


def test_known_units(grid: Places, make_units: Callable[..., Units], noise: Array) -> None:
    """The left half of the grid does not see the difference; the right half sees the opposite."""
    left = grid.positions[:, 0] < 0.5
    mirrored = np.where(left, 2 * noise + 3, -noise)
    found = symmetry(make_units(noise, {"mirrored": mirrored}), grid)
    np.testing.assert_allclose(found.maps["mirror_correlation"], np.where(left, 1, -1))
    mean, moran = found.measures
    assert mean.value == pytest.approx((55 - 66) / 121)
    assert moran.chance is not None
    assert moran.value > moran.chance.high


def test_against_scipy_and_constants() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=(2, 50, 3))
    other[:, 0] += one[:, 0]
    one[:, 2] = 0.1
    found = paired_correlation(one, other)
    assert found[:2] == pytest.approx([pearsonr(one[:, unit], other[:, unit])[0] for unit in range(2)])
    assert found[2] == 0
