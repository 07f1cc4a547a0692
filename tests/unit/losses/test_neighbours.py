"""The neighbour losses against small cases worked by hand, and against loops in Python's own numbers."""

import math
from collections.abc import Callable, Sequence
from pkgutil import resolve_name

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from topotune.losses import LOSSES
from topotune.losses.neighbours import (
    activation_similarity,
    correlations,
    cosines,
    global_similarity,
    rectified_correlations,
    rectified_similarity,
    weight_affinity,
    weight_correlations,
    weight_cosine,
    weight_cosines,
    weight_pearson,
    weight_similarity,
)
from topotune.losses.numerics import unit_rows
from topotune.topography.positions import positions
from topotune.topography.targets import neighbour_pairs, target_similarity

Row = Sequence[float]
LINE = torch.tensor([[0, 1], [1, 2]])  # three units in a row


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _cosine(one: Row, other: Row) -> float:
    norms = math.sqrt(math.fsum(a * a for a in one)) * math.sqrt(math.fsum(b * b for b in other))
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / norms if norms else 0.0


def _centred(row: Row) -> list[float]:
    mean = math.fsum(row) / len(row)
    return [value - mean for value in row]


def _pearson(one: Row, other: Row) -> float:
    return _cosine(_centred(one), _centred(other))


def _distance(one: Row, other: Row) -> float:
    return math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(one, other, strict=True)))


def _rows(name: str, read: Tensor) -> list[list[float]]:
    """A row of plain numbers for each unit: its weights, or its activations at every position of every sample."""
    if LOSSES[name].reads == "weights":
        return [row.flatten().tolist() for row in read]
    read = read.clamp(min=0) if name == "as_relu" else read
    return [[value for sample in read for value in sample[unit].flatten().tolist()] for unit in range(read.shape[1])]


APART: dict[str, Callable[[Row, Row], float]] = {
    "ws": _distance,
    "ws_cosine": lambda one, other: 1 - _cosine(one, other),
    "ws_pearson": lambda one, other: 1 - _pearson(one, other),
    "as": lambda one, other: 1 - _pearson(one, other),
    "as_relu": lambda one, other: 1 - _pearson(one, other),
}


def _by_loops(name: str, read: Tensor, geometry: Tensor) -> float:
    rows = _rows(name, read)
    units = range(len(rows))
    if name == "as_global":
        terms = [(_cosine(rows[i], rows[j]) - geometry[i, j].item()) ** 2 for i in units for j in units if i != j]
    else:
        terms = [APART[name](rows[i], rows[j]) for i, j in geometry.T.tolist()]
    return math.fsum(terms) / max(len(terms), 1)


def _loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    function: Callable[[Tensor, Tensor], Tensor] = resolve_name(LOSSES[name].function)
    return function


def _geometry(name: str, units: int) -> Tensor:
    places = positions("grid2d", units)
    return target_similarity(places) if name == "as_global" else neighbour_pairs(places)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([*APART, "as_global"]),
    st.integers(1, 12),
    st.integers(2, 6),
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(0, 10**6),
)
def test_formula(name: str, units: int, samples: int, spatial: list[int], seed: int) -> None:
    shape = (samples, units, *spatial) if LOSSES[name].reads == "outputs" else (units, samples, *spatial)
    read, geometry = _draw(*shape, seed=seed), _geometry(name, units)
    # two samples correlate by ±1 exactly, where a rounded mean may leave an odd remainder
    assert _loss(name)(read, geometry).item() == pytest.approx(_by_loops(name, read, geometry), rel=1e-12, abs=1e-12)
    single = read.float()
    geometry = geometry.float() if name == "as_global" else geometry
    found = _loss(name)(single, geometry)
    assert found.dtype == torch.float32
    if samples > 2 or name in ("ws", "ws_cosine", "as_global"):
        assert found.item() == pytest.approx(_by_loops(name, single.double(), geometry), rel=1e-6, abs=3e-6)


@pytest.mark.parametrize("name", [*APART, "as_global"])
def test_an_11_by_11_grid(name: str) -> None:
    read = _draw(20, 121) if LOSSES[name].reads == "outputs" else _draw(121, 30)
    geometry = _geometry(name, 121)
    assert _loss(name)(read, geometry).item() == pytest.approx(_by_loops(name, read, geometry), rel=1e-12)
    single, aim = read.float(), geometry.float() if name == "as_global" else geometry
    assert _loss(name)(single, aim).item() == pytest.approx(_by_loops(name, single.double(), aim), rel=1e-6)


def test_weight_similarity_by_hand() -> None:
    """Distances 5 (3, 4) and 13 (5, 12): not squared, and their mean."""
    weights = torch.tensor([[0.0, 0.0], [3.0, 4.0], [8.0, 16.0]], dtype=torch.float64, requires_grad=True)
    loss = weight_similarity(weights, LINE)
    assert loss.item() == 9
    (slope,) = torch.autograd.grad(loss, weights)
    # each pair pulls with a unit vector, halved by the mean
    expected = [[-0.3, -0.4], [0.3 - 5 / 26, 0.4 - 12 / 26], [5 / 26, 12 / 26]]
    torch.testing.assert_close(slope, torch.tensor(expected, dtype=torch.float64))


def test_weight_cosine_and_pearson_by_hand() -> None:
    weights = torch.tensor([[1.0, 0.0], [3.0, 4.0], [-4.0, 3.0]], dtype=torch.float64)
    assert weight_cosine(weights, LINE).item() == pytest.approx((0.4 + 1) / 2)
    # less their means: (½, −½), (−½, ½), (−3½, 3½): r = −1 and 1
    assert weight_pearson(weights, LINE).item() == pytest.approx((2 + 0) / 2)


def test_a_kernel_is_one_vector() -> None:
    weights = _draw(6, 2, 3, 3)
    for loss in (weight_similarity, weight_cosine, weight_pearson):
        pairs = neighbour_pairs(positions("grid2d", 6))
        assert torch.equal(loss(weights, pairs), loss(weights.flatten(1), pairs))


def test_activation_similarity_by_hand() -> None:
    """Over three images: unit 1 is twice unit 0 and something (r = 1), unit 2 falls as unit 1 rises (r = −1)."""
    a = torch.tensor([[1.0, 5.0, 3.0], [2.0, 7.0, 2.0], [3.0, 9.0, 1.0]], dtype=torch.float64)
    assert activation_similarity(a, LINE).item() == pytest.approx((0 + 2) / 2)
    # r of (1, 2, 3) and (1, 3, 2) is ½
    a[:, 1] = torch.tensor([1.0, 3.0, 2.0])
    assert activation_similarity(a, LINE[:, :1]).item() == pytest.approx(0.5)
    # after a ReLU (−1, 1, 2) is (0, 1, 2), and (−5, 1, 2) is, too
    a[:, 0], a[:, 1] = torch.tensor([-1.0, 1.0, 2.0]), torch.tensor([-5.0, 1.0, 2.0])
    assert activation_similarity(a, LINE[:, :1]).item() > 0.01
    assert rectified_similarity(a, LINE[:, :1]).item() == pytest.approx(0, abs=1e-15)


def test_every_position_of_every_image_is_a_sample() -> None:
    a = _draw(3, 5, 2, 4)
    pairs = neighbour_pairs(positions("line", 5))
    flat = a.permute(0, 2, 3, 1).reshape(-1, 5)
    assert activation_similarity(a, pairs).item() == pytest.approx(activation_similarity(flat, pairs).item(), rel=1e-12)
    target = target_similarity(positions("line", 5))
    assert global_similarity(a, target).item() == pytest.approx(global_similarity(flat, target).item(), rel=1e-12)


def test_a_unit_that_does_not_vary_has_no_correlation() -> None:
    """r = 0 with any other: a pair with it costs 1. As it is for a unit that rounding alone makes vary."""
    a = torch.tensor([[1.0, 1000.1, 3.0], [2.0, 1000.1, 2.0], [3.0, 1000.1, 1.0]])
    assert activation_similarity(a, LINE).item() == 1
    a[0, 1] += 1e-4
    assert activation_similarity(a, LINE).item() == 1
    a[0, 1] += 1  # now it varies: (1, 2, 3) against (1, 0, 0)
    assert activation_similarity(a, LINE[:, :1]).item() == pytest.approx(1 + math.sqrt(3) / 2, rel=1e-3)
    assert correlations(torch.ones(4, 3)).tolist() == [[0.0] * 3] * 3


def test_one_sample_has_no_correlation() -> None:
    assert activation_similarity(_draw(1, 3), LINE).item() == 1


@pytest.mark.parametrize("shift", [0.0, 10.0, 1000.0])
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_correlation_knows_no_level_and_no_unit(shift: float, scale: float) -> None:
    a, pairs = _draw(8, 6), neighbour_pairs(positions("grid2d", 6))
    moved = a * scale + shift * torch.arange(6)
    assert activation_similarity(moved, pairs).item() == pytest.approx(activation_similarity(a, pairs).item(), rel=1e-9)


def test_global_similarity_by_hand() -> None:
    """Two units with cosine 3/5 over the batch and target 1/2, and its diagonal is not read."""
    a = torch.tensor([[1.0, 3.0], [0.0, 4.0]], dtype=torch.float64)
    for diagonal in (1.0, 17.0):
        target = torch.tensor([[diagonal, 0.5], [0.5, diagonal]], dtype=torch.float64)
        assert global_similarity(a, target).item() == pytest.approx(0.01)


def test_affinities_by_hand() -> None:
    weights = torch.tensor([[1.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    assert weight_affinity(weights)[0, 1].item() == pytest.approx(-math.sqrt(20))
    assert weight_cosines(weights)[0, 1].item() == pytest.approx(0.6)
    assert weight_correlations(weights)[0, 1].item() == pytest.approx(-1)
    a = torch.tensor([[1.0, 1.0, -1.0], [2.0, 3.0, -1.0], [3.0, 2.0, 4.0]], dtype=torch.float64)
    assert correlations(a)[0, 1].item() == pytest.approx(0.5)
    assert rectified_correlations(a)[0, 2].item() == pytest.approx(_pearson([1, 2, 3], [0, 0, 4]))
    assert cosines(a)[0, 1].item() == pytest.approx(13 / 14)


def test_unit_rows() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]], requires_grad=True)
    found = unit_rows(rows)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.0, -1.0]]))
    (slope,) = torch.autograd.grad(found.sum(), rows)
    assert (slope[1] == 0).all()
    assert slope.isfinite().all()


def test_gradient_at_equal_weights_is_zero_and_near_them_of_length_one() -> None:
    """‖w_p − w_q‖ has no slope where it is 0; ours is 0, the middle of all that it could be."""
    weights = torch.ones(2, 3, requires_grad=True)
    pair = torch.tensor([[0], [1]])
    (slope,) = torch.autograd.grad(weight_similarity(weights, pair), weights)
    assert (slope == 0).all()
    with torch.no_grad():
        weights[0, 0] += 1e-6
    (slope,) = torch.autograd.grad(weight_similarity(weights, pair), weights)
    assert slope.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_no_pairs_cost_nothing() -> None:
    pairs = torch.zeros(2, 0, dtype=torch.int64)
    for name in APART:
        read = (_draw(4, 1, 2, 2) if LOSSES[name].reads == "outputs" else _draw(1, 4)).requires_grad_()
        loss = _loss(name)(read, pairs)
        assert loss.item() == 0
        (slope,) = torch.autograd.grad(loss, read)
        assert (slope == 0).all()
