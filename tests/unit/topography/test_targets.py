"""Target similarities, T = 1 / (d + 1)."""

import math
from itertools import product

import pytest
import torch

from topotune.errors import InputError
from topotune.topography.positions import positions
from topotune.topography.targets import neighbour_pairs, sheet_cells, target_similarity

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


def _pairs(name: str, channels: int) -> list[tuple[int, ...]]:
    return [tuple(pair) for pair in neighbour_pairs(positions(name, channels)).T.tolist()]


def test_an_11_by_11_grid_has_420_pairs() -> None:
    """Truong & Hasson (arXiv 2508.00043): 8 neighbours, clipped at the border; 840 directed, 420 undirected."""
    pairs = neighbour_pairs(positions("grid2d", 121))
    assert pairs.shape == (2, 420)
    assert pairs.dtype == torch.int64
    assert pairs.is_contiguous()
    assert torch.equal(pairs, neighbour_pairs(positions("sheet", 121)))
    degree = torch.bincount(pairs.flatten()).view(11, 11)
    assert (degree[1:-1, 1:-1] == 8).all()
    assert (degree[0, 1:-1] == 5).all()
    assert degree[[0, 0, 10, 10], [0, 10, 0, 10]].tolist() == [3, 3, 3, 3]
    # unit 12 is in the second row, second column
    near = {end for pair in pairs.T.tolist() if 12 in pair for end in pair} - {12}
    assert near == {0, 1, 2, 11, 13, 22, 23, 24}


@pytest.mark.parametrize(
    ("name", "channels", "expected"),
    [
        ("grid2d", 1, []), ("grid3d", 1, []), ("line", 1, []), ("sheet", 1, []),
        ("grid2d", 2, [(0, 1)]), ("line", 2, [(0, 1)]), ("grid3d", 2, [(0, 1)]),
        ("line", 4, [(0, 1), (1, 2), (2, 3)]),
        ("sheet", 5, [(0, 1), (1, 2), (2, 3), (3, 4)]),
        # a square: all six pairs, two of them diagonal; without its last corner three
        ("grid2d", 4, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
        ("grid2d", 3, [(0, 1), (0, 2), (1, 2)]),
        # the second row of three holds two only: 0 1 2 / 3 4
        ("grid2d", 5, [(0, 1), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 4), (3, 4)]),
        # a whole 2 x 2 x 2 cube: everyone's neighbour
        ("grid3d", 8, [(one, other) for one in range(8) for other in range(one + 1, 8)]),
    ],
)  # fmt: skip
def test_neighbours_by_hand(name: str, channels: int, expected: list[tuple[int, int]]) -> None:
    assert _pairs(name, channels) == expected
    assert neighbour_pairs(positions(name, channels)).shape == (2, len(expected))


def test_a_place_in_a_cube_has_26_neighbours() -> None:
    """3 x 3 x 3: 26 for the middle, 7 for a corner; 27·26/2 pairs less those two steps apart along an axis."""
    pairs = neighbour_pairs(positions("grid3d", 27))
    degree = torch.bincount(pairs.flatten())
    assert degree[13] == 26
    assert degree[0] == degree[26] == 7
    cells = list(product(range(3), repeat=3))
    near = [
        (i, j) for i in range(27) for j in range(i + 1, 27)
        if max(abs(a - b) for a, b in zip(cells[i], cells[j], strict=True)) == 1
    ]  # fmt: skip
    assert [tuple(pair) for pair in pairs.T.tolist()] == near


@pytest.mark.parametrize("name", ["grid2d", "grid3d", "line", "sheet"])
@pytest.mark.parametrize("channels", [1, 2, 5, 30, 121])
def test_moved_channels_have_moved_neighbours(name: str, channels: int) -> None:
    places = positions(name, channels)
    order = torch.randperm(channels, generator=torch.Generator().manual_seed(3))
    found = neighbour_pairs(places[order])
    assert (found[0] < found[1]).all()
    # channel i sits at order[i]: told by places, the pairs are the old ones
    told = {tuple(sorted((order[one].item(), order[other].item()))) for one, other in found.T.tolist()}
    assert told == set(_pairs(name, channels))
    assert found.shape[1] == len(told)
    assert found.T.tolist() == sorted(found.T.tolist())


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_neighbours_do_not_depend_on_the_unit_of_length(size: float) -> None:
    assert torch.equal(neighbour_pairs(positions("grid2d", 50) * size), neighbour_pairs(positions("grid2d", 50)))
    assert torch.equal(
        neighbour_pairs(positions("grid2d", 50, grid_divisor="n")), neighbour_pairs(positions("grid2d", 50))
    )


def test_sheet_cells_by_hand() -> None:
    assert sheet_cells(positions("sheet", 6)).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert sheet_cells(positions("sheet", 3)).tolist() == [[0, 1, 2]]
    assert sheet_cells(positions("sheet", 1)).tolist() == [[0]]
    assert sheet_cells(positions("line", 3)).tolist() == [[0, 1, 2]]
    assert sheet_cells(positions("grid2d", 4)).tolist() == [[0, 1], [2, 3]]
    assert sheet_cells(positions("grid2d", 6)).tolist() == [[0, 1, 2], [3, 4, 5]]
    # channel 0 sits at place 2, channel 1 at place 0, …
    moved = sheet_cells(positions("sheet", 6)[torch.tensor([2, 0, 1, 5, 3, 4])])
    assert moved.tolist() == [[1, 2, 0], [4, 5, 3]]
    assert moved.dtype == torch.int64


@pytest.mark.parametrize("channels", [1, 7, 12, 121, 128])
def test_sheet_cells_of_moved_channels(channels: int) -> None:
    places = positions("sheet", channels)
    order = torch.randperm(channels, generator=torch.Generator().manual_seed(1))
    cells = sheet_cells(places[order])
    assert torch.equal(order[cells], sheet_cells(places))
    assert sheet_cells(places).flatten().tolist() == list(range(channels))


@pytest.mark.parametrize(("name", "channels"), [("grid2d", 5), ("grid3d", 8), ("circle", 5), ("sphere", 4)])
def test_what_is_no_full_rectangle_is_said(name: str, channels: int) -> None:
    with pytest.raises(InputError, match=rf"^{channels} channels do not fill a rectangle .* is topography 'sheet'$"):
        sheet_cells(positions(name, channels))
