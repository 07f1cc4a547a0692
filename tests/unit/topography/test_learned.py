"""Positions by swaps and by assignment, against all permutations or all exchanges of two."""

from itertools import combinations, permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from topotune.errors import InputError
from topotune.topography.learned import assign, closeness, swap
from topotune.topography.positions import positions
from topotune.topography.targets import neighbour_pairs, target_similarity


def _affinity(channels: int, seed: int, *, coarse: bool = False) -> Tensor:
    """Symmetric; ``coarse``: of three values only, so that many exchanges gain alike."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    if coarse:
        drawn = torch.tensor([0.1, 1 / 3, -0.7], dtype=torch.float64)[
            torch.randint(3, (channels, channels), generator=generator)
        ]
    return drawn.triu(1) + drawn.triu(1).T


def _close(channels: int, geometry: str = "targets") -> Tensor:
    places = positions("grid2d", channels)
    return closeness(target_similarity(places) if geometry == "targets" else neighbour_pairs(places), channels)


def _value(affinity: Tensor, close: Tensor, order: Tensor) -> float:
    """⟨A, B_π⟩, in a loop."""
    n, place = len(order), order.tolist()
    return sum(affinity[i, j].item() * close[place[i], place[j]].item() for i in range(n) for j in range(n) if i != j)


def _is_permutation(order: Tensor, channels: int) -> bool:
    return order.dtype == torch.int64 and sorted(order.tolist()) == list(range(channels))


def test_closeness_by_hand() -> None:
    target = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    found = closeness(target, 2)
    assert found.tolist() == [[0, 0.5], [0.5, 0]]
    assert found.dtype == torch.float64
    assert target[0, 0] == 1  # what is given stays
    pairs = torch.tensor([[0, 1], [1, 2]])
    assert closeness(pairs, 4).tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert closeness(torch.zeros(2, 0, dtype=torch.int64), 1).tolist() == [[0]]


def test_a_swap_by_hand() -> None:
    """On a line of four, channels 0 and 2 are alike, and so are 1 and 3: exchange 1 and 2, or 0 and 3."""
    affinity = torch.zeros(4, 4)
    affinity[0, 2] = affinity[2, 0] = affinity[1, 3] = affinity[3, 1] = 1
    close = closeness(neighbour_pairs(positions("line", 4)), 4)
    assert _value(affinity, close, torch.arange(4)) == 0
    found = swap(affinity, close, torch.arange(4))
    assert _value(affinity, close, found) == 4
    assert found.tolist() in ([0, 2, 1, 3], [3, 1, 2, 0])


@settings(deadline=None, max_examples=120)
@given(st.integers(1, 9), st.integers(0, 10**6), st.booleans(), st.sampled_from(["targets", "neighbours"]))
def test_swaps_end_where_no_exchange_of_two_gains(channels: int, seed: int, coarse: bool, geometry: str) -> None:
    affinity, close = _affinity(channels, seed, coarse=coarse), _close(channels, geometry)
    start = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
    kept = start.clone()
    found = swap(affinity, close, start)
    assert torch.equal(start, kept)
    assert _is_permutation(found, channels)
    reached = _value(affinity, close, found)
    assert reached >= _value(affinity, close, start) - 1e-12
    for one, other in combinations(range(channels), 2):
        changed = found.clone()
        changed[one], changed[other] = found[other], found[one]
        assert _value(affinity, close, changed) <= reached + 1e-9
    assert torch.equal(swap(affinity, close, found), found)


def test_the_diagonal_of_an_affinity_is_not_read() -> None:
    affinity, close = _affinity(9, 3), _close(9)
    noisy = affinity.clone().fill_diagonal_(1e3)
    assert torch.equal(swap(noisy, close, torch.arange(9)), swap(affinity, close, torch.arange(9)))
    assert torch.equal(assign(noisy, close), assign(affinity, close))
    assert noisy[0, 0] == 1e3


def test_a_large_layer_gains() -> None:
    affinity, close = _affinity(256, 0), _close(256)
    found = swap(affinity.float(), close.float(), torch.arange(256))
    assert _is_permutation(found, 256)
    before, after = ((affinity * near).sum().item() for near in (close, close[found][:, found]))
    assert after - before > abs(before)


def _easy(channels: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """An affinity that is the closeness itself, of channels that were shuffled."""
    close = _close(channels)
    planted = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
    return close[planted][:, planted], close, planted


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_assignment_finds_the_best_of_all_permutations(channels: int, seed: int) -> None:
    affinity, close, _planted = _easy(channels, seed)
    best = max(_value(affinity, close, torch.tensor(order)) for order in permutations(range(channels)))
    found = assign(affinity, close)
    assert _is_permutation(found, channels)
    assert _value(affinity, close, found) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("channels", [9, 16, 25])
def test_assignment_recovers_planted_positions(channels: int) -> None:
    """Up to a turn of the grid, which is worth as much."""
    affinity, close, planted = _easy(channels, channels)
    found = assign(affinity, close)
    assert _value(affinity, close, found) == pytest.approx(_value(affinity, close, planted), rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(0, 10**6), st.booleans(), st.sampled_from(["targets", "neighbours"]))
def test_assignment_is_never_worse_than_the_channels_own_order(
    channels: int, seed: int, coarse: bool, geometry: str
) -> None:
    affinity, close = _affinity(channels, seed, coarse=coarse), _close(channels, geometry)
    found = assign(affinity, close)
    assert _is_permutation(found, channels)
    assert _value(affinity, close, found) >= _value(affinity, close, torch.arange(channels)) - 1e-9
    assert torch.equal(assign(affinity, close), found)


@pytest.mark.parametrize("channels", [1, 2, 3, 9])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_channels_that_are_all_alike_may_stay(channels: int, level: float) -> None:
    affinity = torch.full((channels, channels), level)
    assert swap(affinity, _close(channels), torch.arange(channels)).tolist() == list(range(channels))
    assert _is_permutation(assign(affinity, _close(channels)), channels)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_affinity_that_is_not_finite_is_said(value: float) -> None:
    affinity = _affinity(4, 0)
    affinity[1, 2] = affinity[2, 1] = value
    for work in (lambda: swap(affinity, _close(4), torch.arange(4)), lambda: assign(affinity, _close(4))):
        with pytest.raises(InputError, match=r"^an affinity of channels must be finite and symmetric$"):
            work()


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (4,), (2, 4, 4)])
def test_a_wrong_shape_is_said(shape: tuple[int, ...]) -> None:
    affinity = torch.zeros(shape)
    for work in (lambda: swap(affinity, _close(4), torch.arange(4)), lambda: assign(affinity, _close(4))):
        with pytest.raises(InputError) as error:
            work()
        assert str(error.value) == f"an affinity of shape {shape} does not fit a closeness of (4, 4)"
