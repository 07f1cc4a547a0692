"""Every organisation of POSITIONS: places for any number of channels, and targets that a loss can take."""

from pkgutil import resolve_name

import pytest
import torch

from topotune.topography import ARRANGEMENTS, DISTANCES, POSITIONS, TOPOGRAPHIES, arrangement_of
from topotune.topography.targets import neighbour_pairs, target_similarity


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("channels", [1, 2, 3, 32, 64, 343, 512, 1000])
@pytest.mark.parametrize("name", POSITIONS)
def test_contract(name: str, channels: int, distance: str) -> None:
    place = resolve_name(POSITIONS[name].build)
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


# another value than the default of every option that an organisation can have
OTHER = {"grid_divisor": "n", "radius": 1.0, "nested_factor": 0.3}


@pytest.mark.parametrize(("name", "option"), [(name, one) for name in POSITIONS for one in POSITIONS[name].options])
def test_an_option_moves_channels(name: str, option: str) -> None:
    place = resolve_name(POSITIONS[name].build)
    assert not torch.equal(place(30), place(30, **{option: OTHER[option]}))
    assert place(1, **{option: OTHER[option]}).shape == place(1).shape


@pytest.mark.parametrize("channels", [1, 2, 3, 32, 64, 343])
@pytest.mark.parametrize("name", [name for name, one in POSITIONS.items() if one.lattice])
def test_a_lattice_has_neighbours(name: str, channels: int) -> None:
    """All its channels hang together; no channel has more than a full neighbourhood."""
    places = resolve_name(POSITIONS[name].build)(channels)
    pairs = neighbour_pairs(places)
    assert pairs.dtype == torch.int64
    assert (pairs[0] < pairs[1]).all()
    assert torch.bincount(pairs.flatten(), minlength=channels).max() <= 3 ** places.shape[1] - 1
    reached = {0}
    while True:
        more = {end for pair in pairs.T.tolist() if reached & set(pair) for end in pair} - reached
        if not more:
            break
        reached |= more
    assert len(reached) == channels


def test_the_names_of_topographies() -> None:
    """An organisation, alone or with how its positions are handed out; any of them can be told from its name."""
    assert len(TOPOGRAPHIES) == len(set(TOPOGRAPHIES)) == 3 * len(POSITIONS)
    for name in TOPOGRAPHIES:
        organisation, arrangement = arrangement_of(name)
        assert organisation in POSITIONS
        assert arrangement in ARRANGEMENTS
        assert name == (organisation if arrangement == "fixed" else f"{organisation}-{arrangement}")
