"""RSA and linear CKA: of the same representation, of rotated and of unrelated ones, and by the formulae."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from topotune.analysis.similarity import IMAGES, signature, similarity
from topotune.analysis.units import Array


def _values(one: Array, other: Array) -> tuple[float, float]:
    rsa, cka = similarity(signature(one), signature(other))
    return rsa.value, cka.value


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_the_formulae_written_out(seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(30, 7)), draw.normal(size=(30, 5))
    y[:, 0] += x[:, 1]
    rsa, cka = _values(x, y)
    assert rsa == pytest.approx(spearmanr(pdist(x, "correlation"), pdist(y, "correlation"))[0])
    assert cka == pytest.approx(_hsic(x, y) / np.sqrt(_hsic(x, x) * _hsic(y, y)))
    assert _values(y, x) == pytest.approx((rsa, cka))


def _hsic(x: Array, y: Array) -> float:
    """Song et al. (2012), eq. 5, of linear kernels."""
    k, m = (one @ one.T * (1 - np.eye(30)) for one in (x, y))
    once = np.ones(30)
    sums = (once @ k @ once) * (once @ m @ once) / (29 * 28) - 2 / 28 * (once @ k @ m @ once)
    return float((np.trace(k @ m) + sums) / (30 * 27))


def test_what_leaves_them_as_they_are() -> None:
    """The order of the units is nothing to either; nor is a rotation to CKA."""
    draw = np.random.default_rng(1)
    x = draw.normal(size=(60, 9)) * np.arange(1, 10)
    assert _values(x, 3 * x[:, draw.permutation(9)]) == pytest.approx((1, 1))
    rotation = np.linalg.qr(draw.normal(size=(9, 9)))[0]
    assert _values(x, x @ rotation + 5)[1] == pytest.approx(1)


def test_unrelated_representations_have_none() -> None:
    """However many units there are: of 50 images and 400 units, CKA without the correction is 0.9."""
    draw = np.random.default_rng(3)
    found = [_values(*draw.normal(size=(2, 50, units))) for units in (5, 400) for _ in range(40)]
    assert np.abs(np.mean(found, axis=0)).max() < 0.03


def test_what_does_not_vary_has_no_similarity() -> None:
    many = np.random.default_rng(2).normal(size=(60, 4))
    for other in (np.ones((60, 4)), np.full((60, 1), 0.1), np.zeros((60, 4))):
        assert np.isnan(_values(many, other)).all()
    assert np.isnan(_values(many, many[:, :1])[0]), "dissimilarities of images take several units"


def test_few_images_are_compared_of_every_class() -> None:
    """Also where the data set is in the order of its classes."""
    labels = np.repeat(np.arange(10.0), 200)
    kept = signature(np.column_stack([labels, np.ones(2000), np.arange(2000)]))
    assert kept.kernel.shape == (IMAGES, IMAGES)
    one, other = np.zeros((2, 2000, 3))
    one[:1000], other[1000:] = np.random.default_rng(4).normal(size=(2, 1000, 3))
    assert np.isfinite(_values(one, other)).all(), "images of both halves were drawn"
