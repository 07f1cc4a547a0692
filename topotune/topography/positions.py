"""The organisations of Poli, Dupoux & Riad (2022), section 2.3, as their published code builds them.

Each function maps a number of channels C >= 1 to positions (C, D), float64, one row a channel.
Where the paper's text differs from its code (the grid's divisor, the circle's radius), the code is followed,
because the code produced the published tables.
"""

import math
from itertools import product
from pkgutil import resolve_name

import torch
from torch import Tensor

from topotune.errors import InputError, unknown
from topotune.topography import POSITIONS


def positions(name: str, channels: int) -> Tensor:
    """Positions (C, D), float64, of ``channels`` channels in the organisation ``name`` (a key of POSITIONS).

    Raises:
        InputError: the organisation is unknown, or there is not at least one channel.
    """
    if name not in POSITIONS:
        raise unknown("topography", name, POSITIONS)
    if channels < 1:
        raise InputError(f"topography {name!r} needs at least 1 channel, not {channels}")
    placed: Tensor = resolve_name(POSITIONS[name])(channels)
    return placed


def line(channels: int) -> Tensor:
    """C equally spaced points on [0, 1]: (C, 1). In the authors' code, not in the paper."""
    return torch.linspace(0, 1, channels, dtype=torch.float64).unsqueeze(1)


def grid2d(channels: int) -> Tensor:
    """Regular grid on [0, 1]²: (C, 2). Channel i sits at (i mod n, i div n) / (n − 1), n = ⌈√C⌉."""
    side = _ceil_root(channels, 2)
    index = torch.arange(channels)
    return torch.stack([index % side, index // side], 1).double() / max(side - 1, 1)


def grid3d(channels: int) -> Tensor:
    """Regular grid on [0, 1]³: (C, 3). Row-major, last coordinate fastest, n = ⌈C^(1/3)⌉ points an axis."""
    side = _ceil_root(channels, 3)
    index = torch.arange(channels)
    axes = [index // side**2, index // side % side, index % side]
    return torch.stack(axes, 1).double() / max(side - 1, 1)


def circle(channels: int) -> Tensor:
    """C points at equal angles on a circle of radius 0.5 around the origin: (C, 2). (The paper's text has radius 1.)"""
    angle = torch.arange(channels, dtype=torch.float64) * (2 * math.pi / channels)
    return 0.5 * torch.stack([angle.cos(), angle.sin()], 1)


def sphere(channels: int) -> Tensor:
    """Fibonacci sphere of radius 0.5: (C, 3). y falls from 1 to −1 in C equal steps, both ends included."""
    y = torch.linspace(1, -1, channels, dtype=torch.float64)
    ring = (1 - y * y).clamp(min=0).sqrt()
    angle = torch.arange(channels, dtype=torch.float64) * (math.pi * (3 - math.sqrt(5)))
    return 0.5 * torch.stack([angle.cos() * ring, y, angle.sin() * ring], 1)


def nested2d(channels: int) -> Tensor:
    """Squares around the centre of [0, 1]², each half the last, 8 points each (corners, edge midpoints): (C, 2)."""
    return _nested(channels, dimension=2)


def nested3d(channels: int) -> Tensor:
    """Cubes around the centre of [0, 1]³, each half the last, 20 points each (corners, edge midpoints): (C, 3)."""
    return _nested(channels, dimension=3)


def _nested(channels: int, dimension: int) -> Tensor:
    # offsets from the low corner in half sides, first coordinate fastest; a point lies on an edge
    # when at most one of its coordinates is the middle one (in a square that leaves out the centre only)
    lattice = [point[::-1] for point in product(range(3), repeat=dimension) if point.count(1) <= 1]
    offsets = torch.tensor(lattice, dtype=torch.float64) / 2 - 0.5
    index = torch.arange(channels)
    # float64 tells the first 53 levels (C = 424 in 2-D) from their centre; float32 would lose them after 24
    side = 0.5 ** (index // len(lattice)).double()
    return 0.5 + side.unsqueeze(1) * offsets[index % len(lattice)]


def _ceil_root(value: int, degree: int) -> int:
    """The least n with n^degree >= value, in integers (a floating cube root of 343 rounds up to 8)."""
    root: int = max(round(value ** (1 / degree)) - 1, 1)
    while root**degree < value:
        root += 1
    return root
