"""The organisations of Poli, Dupoux & Riad (2022), section 2.3, as their published code builds them.

Each function maps a number of channels C >= 1 to positions (C, D), float64, one row a channel.
Where the paper's text differs from its code (the grid's divisor, the circle's radius), the code is the default,
because the code produced the published tables; the text is an option.
"""

import math
from itertools import product
from pkgutil import resolve_name
from typing import Any

import torch
from torch import Tensor

from topotune.errors import InputError, unknown
from topotune.topography import GRID_DIVISORS, POSITIONS


def positions(name: str, channels: int, **options: Any) -> Tensor:
    """Positions (C, D), float64, of ``channels`` channels in the organisation ``name`` (a key of POSITIONS).

    Args:
        name: the organisation.
        channels: C, at least 1.
        options: those of the organisation's own function: ``grid_divisor`` of the grids, ``radius`` of circle and
            sphere, ``nested_factor`` of the nested ones.

    Raises:
        InputError: the organisation or an option is unknown or out of range, or there is not at least one channel.
    """
    if name not in POSITIONS:
        raise unknown("topography", name, POSITIONS)
    if channels < 1:
        raise InputError(f"topography {name!r} needs at least 1 channel, not {channels}")
    for option in options:
        if not POSITIONS[name].options:
            raise InputError(f"topography {name!r} has no options, so no {option!r}")
        if option not in POSITIONS[name].options:
            raise unknown("option", option, POSITIONS[name].options, f"topography {name!r}")
    placed: Tensor = resolve_name(POSITIONS[name].build)(channels, **options)
    return placed


def line(channels: int) -> Tensor:
    """C equally spaced points on [0, 1]: (C, 1). In the authors' code, not in the paper."""
    return torch.linspace(0, 1, channels, dtype=torch.float64).unsqueeze(1)


def grid2d(channels: int, grid_divisor: str = "n-1") -> Tensor:
    """Regular grid on [0, 1]²: (C, 2). Channel i sits at (i mod n, i div n) / (n − 1), n = ⌈√C⌉.

    The paper's text divides by n (``grid_divisor="n"``).
    """
    side = _ceil_root(channels, 2)
    index = torch.arange(channels)
    return torch.stack([index % side, index // side], 1).double() / _divisor(side, grid_divisor)


def grid3d(channels: int, grid_divisor: str = "n-1") -> Tensor:
    """Regular grid on [0, 1]³: (C, 3). Row-major, last coordinate fastest, n = ⌈C^(1/3)⌉ points an axis.

    The paper's text divides by n (``grid_divisor="n"``).
    """
    side = _ceil_root(channels, 3)
    index = torch.arange(channels)
    axes = [index // side**2, index // side % side, index % side]
    return torch.stack(axes, 1).double() / _divisor(side, grid_divisor)


def circle(channels: int, radius: float = 0.5) -> Tensor:
    """C points at equal angles on a circle around the origin: (C, 2). The paper's text has radius 1."""
    angle = torch.arange(channels, dtype=torch.float64) * (2 * math.pi / channels)
    return _positive(radius) * torch.stack([angle.cos(), angle.sin()], 1)


def sphere(channels: int, radius: float = 0.5) -> Tensor:
    """Fibonacci sphere around the origin: (C, 3). y falls from 1 to −1 in C equal steps, both ends included."""
    y = torch.linspace(1, -1, channels, dtype=torch.float64)
    ring = (1 - y * y).clamp(min=0).sqrt()
    angle = torch.arange(channels, dtype=torch.float64) * (math.pi * (3 - math.sqrt(5)))
    return _positive(radius) * torch.stack([angle.cos() * ring, y, angle.sin() * ring], 1)


def nested2d(channels: int, nested_factor: float = 0.5) -> Tensor:
    """Squares around the centre of [0, 1]², each ``nested_factor`` of the last, 8 points each (corners, edge
    midpoints): (C, 2). The paper's text leaves the factor open."""
    return _nested(channels, dimension=2, factor=nested_factor)


def nested3d(channels: int, nested_factor: float = 0.5) -> Tensor:
    """Cubes around the centre of [0, 1]³, each ``nested_factor`` of the last, 20 points each (corners, edge
    midpoints): (C, 3). The paper's text leaves the factor open."""
    return _nested(channels, dimension=3, factor=nested_factor)


def sheet(channels: int) -> Tensor:
    """The full rectangle h·w = C nearest to a square, h <= w, row-major, on [0, 1]²: (C, 2), column before row.

    The sheet of TopoLoss (Deb et al. 2025), which leaves no place empty; a prime C is a line.
    """
    height = max(side for side in range(1, math.isqrt(channels) + 1) if channels % side == 0)
    width = channels // height
    index = torch.arange(channels)
    return torch.stack([index % width, index // width], 1).double() / max(width - 1, 1)


def _divisor(side: int, grid_divisor: str) -> int:
    if grid_divisor not in GRID_DIVISORS:
        raise unknown("grid_divisor", grid_divisor, GRID_DIVISORS)
    return side if grid_divisor == "n" else max(side - 1, 1)


def _positive(radius: float) -> float:
    if not isinstance(radius, int | float) or not 0 < radius < math.inf:
        raise InputError(f"radius = {radius!r} is out of range; it must be finite and > 0")
    return radius


def _nested(channels: int, dimension: int, factor: float) -> Tensor:
    if not isinstance(factor, int | float) or not 0 < factor < 1:
        raise InputError(f"nested_factor = {factor!r} is out of range; it must be > 0 and < 1")
    # offsets from the low corner in half sides, first coordinate fastest; a point lies on an edge
    # when at most one of its coordinates is the middle one (in a square that leaves out the centre only)
    lattice = [point[::-1] for point in product(range(3), repeat=dimension) if point.count(1) <= 1]
    offsets = torch.tensor(lattice, dtype=torch.float64) / 2 - 0.5
    index = torch.arange(channels)
    # float64 tells the first 53 levels (C = 424 in 2-D) from their centre; float32 would lose them after 24
    side = factor ** (index // len(lattice)).double()
    return 0.5 + side.unsqueeze(1) * offsets[index % len(lattice)]


def _ceil_root(value: int, degree: int) -> int:
    """The least n with n^degree >= value, in integers (a floating cube root of 343 rounds up to 8)."""
    root: int = max(round(value ** (1 / degree)) - 1, 1)
    while root**degree < value:
        root += 1
    return root
