"""Expert units: AUROC against scikit-learn, d′ by hand, experts that are planted."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from topotune.analysis.analyses import Settings
from topotune.analysis.experts import auroc, d_prime, experts
from topotune.analysis.places import Places
from topotune.analysis.units import Array, Found, Units

MakeUnits = Callable[..., Units]


def _value(found: Found, name: str) -> float:
    return next(one.value for one in found.measures if one.name == name)


def test_auroc_against_sklearn() -> None:
    """Ties included: responses are rounded."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 200)
    responses = np.round(draw.normal(size=(200, 6)) + labels[:, None] * np.linspace(-1, 1, 6), 1)
    theirs = [[roc_auc_score(labels == label, responses[:, unit]) for unit in range(6)] for label in range(3)]
    np.testing.assert_allclose(auroc(responses, labels, 3), theirs, atol=1e-12)


def test_a_class_without_images() -> None:
    found = auroc(np.arange(6.0)[:, None], np.array([0, 0, 0, 1, 1, 1]), 3)
    np.testing.assert_array_equal(found[:, 0], [0, 1, np.nan])


def test_d_prime_by_hand(make_units: MakeUnits) -> None:
    """Class 0: mean 3, variance 1; the rest: mean 0, variance 3: 3 / √2. A unit that does not vary: 0."""
    one = np.array([2.0, 4.0, 2.0, 4.0, np.sqrt(3), -np.sqrt(3), np.sqrt(3), -np.sqrt(3)])
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    units = make_units(np.stack([one + 1000, np.full(8, 5.0)], 1), labels=labels, classes=4)
    found = d_prime(units)
    assert found[0] == pytest.approx([3 / np.sqrt(2), 0])
    assert np.isnan(found[3]).all()


def test_planted_experts(grid: Places, make_units: MakeUnits, noise: Array) -> None:
    """Left units tell class 0, upper right ones class 1: they cluster, and cover half of the four classes."""
    labels = np.arange(400) % 4
    x, y = grid.positions.T
    own = np.where(x < 0.35, 0, np.where((x > 0.65) & (y < 0.35), 1, -1))
    found = experts(make_units(noise + 4.0 * (labels[:, None] == own), labels=labels), grid)
    left, corner = 44, 16
    assert _value(found, "units") == left + corner
    by_class = {one.at: one.value for one in found.measures if one.name == "experts"}
    assert by_class == {0: left, 1: corner, 2: 0, 3: 0}
    share = np.array([left, corner]) / (left + corner)
    assert _value(found, "spread") == pytest.approx(-(share * np.log(share)).sum() / np.log(4))
    together = next(one for one in found.measures if one.name == "distance")
    assert together.chance is not None
    assert together.value < together.chance.low
    assert (found.maps["best_class"][own >= 0] == own[own >= 0]).all()
    assert found.maps["d_prime"][own == 0].mean() == pytest.approx(4, abs=0.3)


def test_scattered_experts_do_not_cluster(grid: Places, make_units: MakeUnits, noise: Array) -> None:
    labels = np.arange(400) % 4
    own = np.random.default_rng(8).permutation(121) < 40
    found = experts(make_units(noise + 4.0 * np.outer(labels == 2, own), labels=labels), grid)
    together = next(one for one in found.measures if one.name == "distance")
    assert together.chance is not None
    assert together.chance.low <= together.value <= together.chance.high
    assert _value(found, "spread") == 0


def test_the_threshold_is_a_setting(grid: Places, make_units: MakeUnits, noise: Array) -> None:
    """Noise has no experts at 0.9, and there is nothing to say of how they are spread; at 0.51 it has many."""
    none = experts(make_units(noise), grid)
    assert _value(none, "units") == 0
    assert np.isnan(_value(none, "spread"))
    assert np.isnan(_value(none, "distance"))
    many = experts(make_units(noise, settings=Settings(expert=0.51)), grid)
    assert _value(many, "units") > 100
