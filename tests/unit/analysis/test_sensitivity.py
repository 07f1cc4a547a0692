"""Input sensitivity: the variance of known responses, and whether it is laid out."""

from collections.abc import Callable

import numpy as np
import pytest

from topotune.analysis.places import Places
from topotune.analysis.sensitivity import sensitivity
from topotune.analysis.units import Array, Units


def test_variance_and_its_map(grid: Places, make_units: Callable[..., Units], noise: Array) -> None:
    """Noise whose deviation grows from left to right."""
    column = np.rint(grid.positions[:, 0] * 10)
    exact = (noise - noise.mean(0)) / noise.std(0)
    found = sensitivity(make_units(exact * (1 + column)), grid)
    variance, moran = found.measures
    assert found.maps["variance"] == pytest.approx((1 + column) ** 2)
    assert variance.value == pytest.approx(np.mean((1 + np.arange(11)) ** 2))
    assert variance.chance is None
    assert moran.chance is not None
    assert moran.value > 0.8 > moran.chance.high
