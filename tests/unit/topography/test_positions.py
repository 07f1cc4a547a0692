"""Organisations against small cases worked by hand (Poli, Dupoux & Riad 2022, section 2.3, and their code)."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from topotune.errors import InputError
from topotune.topography import POSITIONS
from topotune.topography.positions import positions

GOLDEN = math.pi * (3 - math.sqrt(5))

SMALL = [
    ("line", 1, [[0.0]]),
    ("line", 3, [[0.0], [0.5], [1.0]]),
    ("line", 5, [[0.0], [0.25], [0.5], [0.75], [1.0]]),
    ("grid2d", 1, [[0.0, 0.0]]),
    ("grid2d", 2, [[0.0, 0.0], [1.0, 0.0]]),
    ("grid2d", 4, [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
    # 5 channels need 3 x 3 places: first coordinate i mod 3, second i div 3, divided by 2
    ("grid2d", 5, [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0], [0.0, 0.5], [0.5, 0.5]]),
    ("grid3d", 1, [[0.0, 0.0, 0.0]]),
    ("grid3d", 2, [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    # row-major: the last coordinate goes fastest
    ("grid3d", 5, [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0]]),
    ("circle", 1, [[0.5, 0.0]]),
    ("circle", 2, [[0.5, 0.0], [-0.5, 0.0]]),
    ("circle", 4, [[0.5, 0.0], [0.0, 0.5], [-0.5, 0.0], [0.0, -0.5]]),
    ("circle", 6, [[0.5, 0], [0.25, 0.75**0.5 / 2], [-0.25, 0.75**0.5 / 2],
                   [-0.5, 0], [-0.25, -(0.75**0.5) / 2], [0.25, -(0.75**0.5) / 2]]),
    ("sphere", 1, [[0.0, 0.5, 0.0]]),
    ("sphere", 2, [[0.0, 0.5, 0.0], [0.0, -0.5, 0.0]]),
    ("sphere", 3, [[0.0, 0.5, 0.0], [math.cos(GOLDEN) / 2, 0.0, math.sin(GOLDEN) / 2], [0.0, -0.5, 0.0]]),
    # (0,0)(1,0)(2,0)(0,1)(2,1)(0,2)(1,2)(2,2) in half sides from the low corner; then a square half as large
    ("nested2d", 10, [[0, 0], [0.5, 0], [1, 0], [0, 0.5], [1, 0.5], [0, 1], [0.5, 1], [1, 1],
                      [0.25, 0.25], [0.5, 0.25]]),
    # 20 of the 27 points of the lattice lie on an edge: z slowest, then y, then x
    ("nested3d", 22, [[0, 0, 0], [0.5, 0, 0], [1, 0, 0], [0, 0.5, 0], [1, 0.5, 0], [0, 1, 0], [0.5, 1, 0], [1, 1, 0],
                      [0, 0, 0.5], [1, 0, 0.5], [0, 1, 0.5], [1, 1, 0.5],
                      [0, 0, 1], [0.5, 0, 1], [1, 0, 1], [0, 0.5, 1], [1, 0.5, 1], [0, 1, 1], [0.5, 1, 1], [1, 1, 1],
                      [0.25, 0.25, 0.25], [0.5, 0.25, 0.25]]),
    ("sheet", 1, [[0, 0]]),
    ("sheet", 3, [[0, 0], [0.5, 0], [1, 0]]),  # a prime is a line
    ("sheet", 4, [[0, 0], [1, 0], [0, 1], [1, 1]]),
    # 6 = 2 · 3, row-major; the longer side is 1
    ("sheet", 6, [[0, 0], [0.5, 0], [1, 0], [0, 0.5], [0.5, 0.5], [1, 0.5]]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "channels", "expected"), SMALL)
def test_small_cases(name: str, channels: int, expected: list[list[float]]) -> None:
    found = positions(name, channels)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15)


def test_every_organisation_has_a_small_case() -> None:
    assert {name for name, _channels, _expected in SMALL} == set(POSITIONS)


NESTED3D = next(expected[:20] for name, _channels, expected in SMALL if name == "nested3d")
OPTIONS = [
    # the paper's text divides by n
    ("grid2d", 4, {"grid_divisor": "n"}, [[0, 0], [0.5, 0], [0, 0.5], [0.5, 0.5]]),
    ("grid2d", 5, {"grid_divisor": "n"}, [[0, 0], [1 / 3, 0], [2 / 3, 0], [0, 1 / 3], [1 / 3, 1 / 3]]),
    ("grid2d", 1, {"grid_divisor": "n"}, [[0, 0]]),
    ("grid2d", 2, {"grid_divisor": "n-1"}, [[0, 0], [1, 0]]),
    ("grid3d", 5, {"grid_divisor": "n"}, [[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0]]),
    # and has radius 1
    ("circle", 4, {"radius": 1.0}, [[1, 0], [0, 1], [-1, 0], [0, -1]]),
    ("circle", 2, {"radius": 3.0}, [[3, 0], [-3, 0]]),
    ("sphere", 2, {"radius": 1.0}, [[0, 1, 0], [0, -1, 0]]),
    ("sphere", 3, {"radius": 2.0}, [[0, 2, 0], [math.cos(GOLDEN) * 2, 0, math.sin(GOLDEN) * 2], [0, -2, 0]]),
    ("nested2d", 10, {"nested_factor": 0.25}, [[0, 0], [0.5, 0], [1, 0], [0, 0.5], [1, 0.5], [0, 1], [0.5, 1], [1, 1],
                                              [0.375, 0.375], [0.5, 0.375]]),
    ("nested3d", 21, {"nested_factor": 0.75}, [*NESTED3D, [0.125, 0.125, 0.125]]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "channels", "options", "expected"), OPTIONS)
def test_options(name: str, channels: int, options: dict[str, Any], expected: list[list[float]]) -> None:
    found = positions(name, channels, **options)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15)


def test_every_option_has_a_small_case() -> None:
    there = {(name, option) for name, one in POSITIONS.items() for option in one.options}
    assert {(name, option) for name, _channels, options, _expected in OPTIONS for option in options} == there


@pytest.mark.parametrize(
    ("channels", "height", "width"),
    [(121, 11, 11), (128, 8, 16), (127, 1, 127), (1, 1, 1), (2, 1, 2), (12, 3, 4), (64, 8, 8), (512, 16, 32)],
)
def test_a_sheet_is_the_full_rectangle_nearest_to_a_square(channels: int, height: int, width: int) -> None:
    found = positions("sheet", channels)
    for channel, place in enumerate(found.tolist()):
        assert place == [channel % width / max(width - 1, 1), channel // width / max(width - 1, 1)]
    assert channels == height * width
    assert found[-1].tolist() == [float(width > 1), (height - 1) / max(width - 1, 1)]


def _distinct(places: Tensor) -> int:
    return len({tuple(row) for row in places.tolist()})


@pytest.mark.parametrize(
    ("channels", "side"), [(1, 1), (2, 2), (7, 2), (8, 2), (9, 3), (343, 7), (344, 8), (512, 8), (729, 9), (1000, 10)]
)
def test_grid3d_takes_the_integer_root(channels: int, side: int) -> None:
    """A floating cube root of 343 is 6.999…, of 1000 9.999…: rounded up carelessly the grid has a side too many."""
    found = positions("grid3d", channels)
    steps = sorted({value for row in found.tolist() for value in row})
    assert steps[-1] == (1.0 if side > 1 else 0.0)
    assert _distinct(found) == channels
    row = found[: min(side, channels), 2].tolist()
    assert row == [step / max(side - 1, 1) for step in range(len(row))]
    assert (found[:side, :2] == 0).all()
    if channels > side:
        assert found[side].tolist() == [0.0, 1 / (side - 1), 0.0]


@pytest.mark.parametrize(("channels", "side"), [(1, 1), (2, 2), (343, 19), (361, 19), (362, 20), (512, 23), (1024, 32)])
def test_grid2d_takes_the_integer_root(channels: int, side: int) -> None:
    found = positions("grid2d", channels)
    for channel, place in enumerate(found.tolist()):
        assert place == [channel % side / max(side - 1, 1), channel // side / max(side - 1, 1)]


@pytest.mark.parametrize("channels", [343, 512, 1000])
def test_circle_has_equal_chords_and_radius_one_half(channels: int) -> None:
    found = positions("circle", channels)
    torch.testing.assert_close(found.norm(dim=1), torch.full((channels,), 0.5).double(), rtol=0, atol=1e-15)
    chords = (found - found.roll(-1, 0)).norm(dim=1)
    # the chord of an angle a on a circle of radius r is 2 r sin(a / 2)
    expected = torch.full((channels,), math.sin(math.pi / channels), dtype=torch.float64)
    torch.testing.assert_close(chords, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("channels", [2, 343, 512, 1000])
def test_sphere_goes_from_pole_to_pole(channels: int) -> None:
    found = positions("sphere", channels)
    assert found[0].tolist() == [0.0, 0.5, 0.0]
    assert found[-1].tolist() == [0.0, -0.5, 0.0]
    torch.testing.assert_close(found.norm(dim=1), torch.full((channels,), 0.5).double(), rtol=0, atol=1e-15)
    for channel in range(channels):
        height = 0.5 - channel / (channels - 1)
        ring = math.sqrt(max(0.25 - height**2, 0))
        expected = [math.cos(GOLDEN * channel) * ring, height, math.sin(GOLDEN * channel) * ring]
        assert found[channel].tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("name", "points", "dimension"), [("nested2d", 8, 2), ("nested3d", 20, 3)])
@pytest.mark.parametrize("channels", [1, 2, 343, 512, 1000])
def test_nested_levels_halve(name: str, points: int, dimension: int, channels: int) -> None:
    found = positions(name, channels)
    assert found.shape == (channels, dimension)
    for channel, place in enumerate(found.tolist()):
        level = channel // points
        # half a side of level 0 is 1/2; the largest offset from the centre is that of a corner or an edge
        assert max(abs(value - 0.5) for value in place) == 0.5 ** (level + 1) or level > 52
    same = [channel for channel in range(points, channels) if channel // points <= 52]
    for channel in same:
        before = found[channel - points]
        assert (found[channel] - 0.5).tolist() == ((before - 0.5) / 2).tolist()


def test_nested_levels_stay_apart_in_float64() -> None:
    """424 = 53 levels of 8; in float32 the levels after the 24th would coincide."""
    found = positions("nested2d", 424)
    assert found.dtype == torch.float64
    assert _distinct(found) == 424
    assert _distinct(found.float()) < 424
    assert _distinct(positions("nested3d", 512)) == 512


@given(st.sampled_from(list(POSITIONS)), st.integers(1, 1100))
def test_any_number_of_channels(name: str, channels: int) -> None:
    found = positions(name, channels)
    dimension = {"line": 1, "grid3d": 3, "sphere": 3, "nested3d": 3}.get(name, 2)
    assert found.shape == (channels, dimension)
    assert found.dtype == torch.float64
    assert found.isfinite().all()
    low, high = (-0.5, 0.5) if name in ("circle", "sphere") else (0.0, 1.0)
    assert found.min() >= low - 1e-15
    assert found.max() <= high + 1e-15
    if not name.startswith("nested"):
        assert _distinct(found) == channels


def test_wrong_input_is_named() -> None:
    with pytest.raises(InputError, match="unknown topography 'grid4d'; choose from grid2d, grid3d, circle"):
        positions("grid4d", 4)
    for channels in (0, -1):
        with pytest.raises(InputError, match=f"topography 'circle' needs at least 1 channel, not {channels}"):
            positions("circle", channels)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("grid2d", {"radius": 1.0}, "topography 'grid2d': unknown option 'radius'; choose from grid_divisor"),
        ("nested3d", {"factor": 0.5}, "topography 'nested3d': unknown option 'factor'; choose from nested_factor"),
        ("line", {"radius": 1.0}, "topography 'line' has no options, so no 'radius'"),
        ("sheet", {"grid_divisor": "n"}, "topography 'sheet' has no options, so no 'grid_divisor'"),
        ("circle", {"radius": "1"}, "radius = '1' is out of range; it must be finite and > 0"),
        ("nested2d", {"nested_factor": None}, "nested_factor = None is out of range; it must be > 0 and < 1"),
        ("grid2d", {"grid_divisor": "n+1"}, "unknown grid_divisor 'n+1'; choose from n-1, n"),
        ("grid3d", {"grid_divisor": ""}, "unknown grid_divisor ''; choose from n-1, n"),
        ("circle", {"radius": 0.0}, "radius = 0.0 is out of range; it must be finite and > 0"),
        ("circle", {"radius": -1.0}, "radius = -1.0 is out of range; it must be finite and > 0"),
        ("sphere", {"radius": math.inf}, "radius = inf is out of range; it must be finite and > 0"),
        ("sphere", {"radius": math.nan}, "radius = nan is out of range; it must be finite and > 0"),
        ("nested2d", {"nested_factor": 1.0}, "nested_factor = 1.0 is out of range; it must be > 0 and < 1"),
        ("nested3d", {"nested_factor": 0.0}, "nested_factor = 0.0 is out of range; it must be > 0 and < 1"),
        ("nested3d", {"nested_factor": math.nan}, "nested_factor = nan is out of range; it must be > 0 and < 1"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(name: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError) as error:
        positions(name, 4, **options)
    assert str(error.value) == reason
