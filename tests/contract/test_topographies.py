"""Every organisation of POSITIONS: places for any number of channels, and targets that a loss can take."""

from pkgutil import resolve_name

import pytest
import torch

from topotune.topography import DISTANCES, POSITIONS
from topotune.topography.targets import target_similarity


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("channels", [1, 2, 3, 32, 64, 343, 512, 1000])
@pytest.mark.parametrize("name", POSITIONS)
def test_contract(name: str, channels: int, distance: str) -> None:
    place = resolve_name(POSITIONS[name])
    places = place(channels)
    assert places.dtype == torch.float64
    assert places.dim() == 2
    assert len(places) == channels
    assert places.isfinite().all()
    assert torch.equal(place(channels), places)
    target = target_similarity(places, distance)
    assert target.shape == (channels, channels)
    assert (target.diagonal() == 1).all()
    assert torch.equal(target, target.T)
    # the farthest two sit at opposite corners of a cube of side 1
    assert target.min() >= 1 / (1 + (3 if distance == "l1" else 3**0.5)) - 1e-12
    assert target.max() == 1
