"""Stimuli that no data set holds: gratings and spots, as pictures (M, H, W) in [0, 1], the same in all channels.

Our definitions. x goes to the right, y down, from the centre, both in units of the shorter side.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

ORIENTATIONS, FREQUENCIES, PHASES = 16, 5, 8
DISTANCES, DIRECTIONS = 8, 8
SPOT = 1 / 12  # deviation of a spot


def orientations() -> Tensor:
    """(16,) angles of a grating's stripes against the horizontal, counter-clockwise, from 0 to just under π."""
    return torch.arange(ORIENTATIONS, dtype=torch.float64) * (math.pi / ORIENTATIONS)


def frequencies(height: int, width: int) -> Tensor:
    """(5,) cycles across the shorter side: from 1 to a cycle every four pixels, in equal ratios."""
    return torch.logspace(0, math.log2(max(min(height, width) / 4, 2.0)), FREQUENCIES, base=2, dtype=torch.float64)


def eccentricities() -> Tensor:
    """(8,) distances of a spot from the centre, in units of half the shorter side: from 0 to 1 less a spot's width."""
    return torch.linspace(0, 1 - 2 * SPOT, DISTANCES, dtype=torch.float64)


def gratings(height: int, width: int) -> Iterator[Tensor]:
    """Sine gratings of full contrast, 16 orientations times 5 spatial frequencies times 8 phases, the last the fastest:
    the 40 of one orientation (40, H, W) after the other."""
    x, y = _plane(height, width)
    phase = torch.arange(PHASES, dtype=torch.float64) * (2 * math.pi / PHASES)
    frequency = 2 * math.pi * frequencies(height, width)
    for angle in orientations():
        across = x * angle.sin() + y * angle.cos()  # stripes at 0 are horizontal: they change along y
        wave = frequency[:, None, None, None] * across + phase[:, None, None]  # (5, 8, H, W)
        yield (0.5 + 0.5 * wave.sin()).flatten(0, 1).float()


def spots(height: int, width: int) -> Iterator[Tensor]:
    """A spot, 1 in its middle and falling off to 0 as a Gaussian, at 8 distances from the centre times 8 directions,
    the last the fastest: the 8 of one distance (8, H, W) after the other; it is to be laid over a background."""
    x, y = _plane(height, width)
    direction = torch.arange(DIRECTIONS, dtype=torch.float64) * (2 * math.pi / DIRECTIONS)
    for distance in eccentricities() / 2:
        right, down = (distance * one(direction)[:, None, None] for one in (torch.cos, torch.sin))
        yield torch.exp(-((x - right) ** 2 + (y - down) ** 2) / (2 * SPOT**2)).float()


def _plane(height: int, width: int) -> tuple[Tensor, Tensor]:
    """x and y (H, W) of the pixels' middles."""
    side = min(height, width)
    rows = (torch.arange(height, dtype=torch.float64) + 0.5 - height / 2) / side
    columns = (torch.arange(width, dtype=torch.float64) + 0.5 - width / 2) / side
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return x, y
