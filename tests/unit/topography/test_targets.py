"""Target similarities, T = 1 / (d + 1)."""

import math

import pytest
import torch

from topotune.errors import InputError
from topotune.topography.positions import positions
from topotune.topography.targets import target_similarity

CORNERS = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]], dtype=torch.float64)


def test_by_hand() -> None:
    found = target_similarity(CORNERS)
    # distances 5, 1 and √(9 + 9)
    one, two, three = 1 / 6, 1 / 2, 1 / (math.sqrt(18) + 1)
    expected = torch.tensor([[1, one, two], [one, 1, three], [two, three, 1]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-15, atol=0)


def test_by_hand_l1() -> None:
    found = target_similarity(CORNERS, "l1")
    one, two, three = 1 / 8, 1 / 2, 1 / 7  # distances 7, 1 and 6
    expected = torch.tensor([[1, one, two], [one, 1, three], [two, three, 1]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("distance", ["euclidean", "l1"])
@pytest.mark.parametrize(("name", "channels"), [("nested2d", 400), ("sphere", 64), ("grid3d", 30), ("line", 1)])
def test_against_loops(name: str, channels: int, distance: str) -> None:
    places = positions(name, channels)
    found = target_similarity(places, distance)
    assert found.dtype == torch.float64
    rows = places.tolist()
    for i in range(0, channels, 7):
        for j in range(channels):
            apart = [abs(a - b) for a, b in zip(rows[i], rows[j], strict=True)]
            d = math.hypot(*apart) if distance == "euclidean" else sum(apart)
            assert found[i, j].item() == pytest.approx(1 / (d + 1), rel=1e-14)
    assert (found.diagonal() == 1).all()
    assert torch.equal(found, found.T)


def test_small_distances_are_not_lost() -> None:
    """Neighbours in the 40th nested square are 2⁻⁴⁰ apart; a distance by matrix products would lose that."""
    places = positions("nested2d", 336)
    found = target_similarity(places)
    # points 320 and 321 of level 40: a corner and the midpoint of an edge, half a side apart
    assert found[320, 321].item() == 1 / (2.0**-41 + 1) < 1


def test_unknown_distance() -> None:
    with pytest.raises(InputError, match="unknown distance 'l2'; choose from euclidean, l1"):
        target_similarity(CORNERS, "l2")
