"""Maps of weights and activations: what they hold, and how smooth they are."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.decomposition import PCA

from topotune.analysis.maps import class_means, components, maps
from topotune.analysis.places import Places
from topotune.analysis.units import Array, Units

MakeUnits = Callable[..., Units]


def test_components_against_sklearn() -> None:
    weights = np.random.default_rng(0).normal(size=(30, 8)) * np.arange(1, 9)
    theirs = PCA(3).fit_transform(weights).T
    found = components(weights)
    np.testing.assert_allclose(np.abs(found), np.abs(theirs), atol=1e-9)
    assert (found[np.arange(3), np.abs(found).argmax(1)] > 0).all()


def test_fewer_units_than_components() -> None:
    found = components(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    np.testing.assert_allclose(found, [[1, -1], [0, 0], [0, 0]], atol=1e-12)


def test_class_means(make_units: MakeUnits) -> None:
    responses = np.array([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]])
    found = class_means(make_units(responses, labels=np.array([0, 0, 2]), classes=3))
    np.testing.assert_array_equal(found, [[2, 3], [np.nan, np.nan], [10, 20]])


def test_smooth_weights_and_noise(grid: Places, make_units: MakeUnits, blobs: Array, noise: Array) -> None:
    found = maps(make_units(blobs, weights=blobs[:30].T, labels=np.arange(400) % 3, classes=4), grid)
    weights, classes = found.measures
    assert weights.chance is not None
    assert weights.value > 0.7 > weights.chance.high
    assert np.isfinite(classes.value)
    assert found.maps["weight_norm"] == pytest.approx(np.sqrt(np.square(blobs[:30]).sum(0)))
    assert found.maps["class_responses"].shape == (4, 121)
    (weights, _classes) = maps(make_units(noise, weights=noise[:30].T), grid).measures
    assert weights.chance is not None
    assert weights.chance.low <= weights.value <= weights.chance.high
