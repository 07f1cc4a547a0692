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
    k, m = (one @ one.T for one in (x - x.mean(0), y - y.mean(0)))
    assert cka == pytest.approx((k * m).sum() / (np.linalg.norm(k) * np.linalg.norm(m)))
    assert _values(y, x) == pytest.approx((rsa, cka))


def test_what_leaves_them_as_they_are() -> None:
    """The order of the units is nothing to either; nor is a rotation to CKA."""
    draw = np.random.default_rng(1)
    x = draw.normal(size=(60, 9)) * np.arange(1, 10)
    assert _values(x, 3 * x[:, draw.permutation(9)]) == pytest.approx((1, 1))
    rotation = np.linalg.qr(draw.normal(size=(9, 9)))[0]
    assert _values(x, x @ rotation + 5)[1] == pytest.approx(1)
    unrelated = _values(x, draw.normal(size=(60, 9)))
    assert abs(unrelated[0]) < 0.15
    assert unrelated[1] < 0.5


def test_few_images_are_compared_and_constants_are_no_trouble() -> None:
    many = np.random.default_rng(2).normal(size=(IMAGES + 50, 4))
    assert signature(many).centred.shape == (IMAGES, 4)
    rsa, cka = _values(many, np.ones_like(many))
    assert rsa == 0
    assert np.isnan(cka)
