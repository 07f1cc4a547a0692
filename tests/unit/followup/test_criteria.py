"""In which order channels go, by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from topotune.followup.criteria import CRITERIA, Channels
from topotune.topography.positions import positions


def _channels(weights: torch.Tensor, organisation: str = "line", seed: int = 0) -> Channels:
    return Channels("conv", weights, positions(organisation, len(weights)), seed)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(CRITERIA)), st.integers(1, 40), st.integers(0, 99))
def test_every_channel_goes_once(criterion: str, channels: int, seed: int) -> None:
    weights = torch.randn(channels, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    order = CRITERIA[criterion](_channels(weights, "grid2d", seed))
    assert sorted(order.tolist()) == list(range(channels))


def test_l1_and_l2_differ() -> None:
    weights = torch.tensor([[3.0, 4.0, 0.0], [2.5, 2.5, 2.5], [6.0, 0.0, 0.0]])  # L1 7, 7.5, 6; L2 5, 4.33, 6
    assert CRITERIA["l1"](_channels(weights)).tolist() == [2, 0, 1]
    assert CRITERIA["l2"](_channels(weights)).tolist() == [1, 0, 2]


def test_random_depends_on_the_seed_and_the_layer() -> None:
    weights = torch.zeros(50, 1)
    first = CRITERIA["random"](_channels(weights))
    assert torch.equal(first, CRITERIA["random"](_channels(torch.ones(50, 1))))
    assert not torch.equal(first, CRITERIA["random"](_channels(weights, seed=1)))
    assert not torch.equal(first, CRITERIA["random"](Channels("other", weights, positions("line", 50), 0)))


def test_what_a_neighbour_can_stand_in_for_goes_first() -> None:
    """Channels 1 and 2 are alike but for their lengths, 0 and 3 like none; -3 is opposite to 3, and no stand-in."""
    weights = torch.tensor([[2.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 5.0, 0, 0], [0, 0, 4.0, 0], [0, 0, -4.5, 0]])
    # 1 loses nothing while 2 is there; then all stand alone, and go by their length
    assert CRITERIA["neighbour"](_channels(weights)).tolist() == [1, 0, 3, 4, 2]


def test_a_far_channel_stands_in_for_none() -> None:
    """On a line of 30, channel 0 is like channel 29 only, and no neighbour of it; 10 and 11 are alike."""
    weights = 5 * torch.eye(30)
    weights[29] = weights[0]
    weights[11] = weights[10]
    order = CRITERIA["neighbour"](_channels(weights)).tolist()
    assert order[0] == 10
    assert order[1] == 0  # of equals the first


def test_the_loss_is_what_is_left_of_the_weights() -> None:
    """cosine 0.6 and length 10: 8 are lost; the other, of length 7, loses 5.6; a third of length 6 stands alone."""
    weights = torch.tensor([[10.0, 0, 0], [4.2, 5.6, 0], [0, 0, 6.0]])
    assert CRITERIA["neighbour"](_channels(weights)).tolist() == [1, 2, 0]
    assert CRITERIA["l2"](_channels(weights)).tolist() == [2, 1, 0]


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_dead_channels_do_no_harm(criterion: str) -> None:
    assert sorted(CRITERIA[criterion](_channels(torch.zeros(9, 4), "grid2d")).tolist()) == list(range(9))
