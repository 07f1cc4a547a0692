"""Effective dimensionality of samples whose covariance is known."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topotune.analysis.dimensionality import dimensionality, effective
from topotune.analysis.places import Places
from topotune.analysis.units import Array, Units


def _samples(deviations: list[float], images: int = 40) -> Array:
    """Uncorrelated columns of exactly these deviations."""
    basis = np.linalg.qr(np.eye(images)[:, 1:] - 1 / images)[0]  # columns of mean 0, at right angles
    found: Array = basis[:, : len(deviations)] * np.array(deviations)
    return found


@pytest.mark.parametrize(
    ("deviations", "expected"), [([1, 1, 1, 1], 4), ([5, 0, 0], 1), ([2, 1], 25 / 17), ([3, 3, 0], 2)]
)
def test_known_covariances(deviations: list[float], expected: float) -> None:
    samples = _samples(deviations)
    assert effective(samples) == pytest.approx(expected)
    assert effective(7 * samples + 100) == pytest.approx(expected)


@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(2, 12))
@settings(max_examples=20, deadline=None)
def test_against_eigenvalues(seed: int, images: int, units: int) -> None:
    samples = np.random.default_rng(seed).normal(size=(images, units))
    values = np.linalg.eigvalsh(np.cov(samples.T))
    found = effective(samples)
    assert found == pytest.approx(values.sum() ** 2 / np.square(values).sum())
    assert 1 - 1e-9 <= found <= min(units, images - 1) + 1e-9


def test_what_does_not_vary_has_none(make_units: Callable[..., Units], grid: Places) -> None:
    units = make_units(np.full((10, 5), 0.5), weights=_samples([1, 1, 1], 5))
    activations, weights = dimensionality(units, grid).measures
    assert np.isnan(activations.value)
    assert weights.value == pytest.approx(3)
