"""What a loss makes of positions: how similar two channels should be, who is whose neighbour, which cell is whose."""

import torch
from torch import Tensor

from topotune.errors import InputError, unknown
from topotune.topography import DISTANCES


def target_similarity(positions: Tensor, distance: str = "euclidean") -> Tensor:
    """Target similarities T_ij = 1 / (d_ij + 1): (C, C), in the positions' precision, ones on the diagonal.

    Args:
        positions: (C, D).
        distance: ``euclidean`` (paper, section 2.2) or ``l1`` (searched by the authors' code).

    Raises:
        InputError: the distance is unknown.
    """
    if distance not in DISTANCES:
        raise unknown("distance", distance, DISTANCES)
    order = 2.0 if distance == "euclidean" else 1.0
    # without matrix products: these lose the small distances of deep nested levels
    apart = torch.cdist(positions, positions, p=order, compute_mode="donot_use_mm_for_euclid_dist")
    return 1 / (apart + 1)


def neighbour_pairs(positions: Tensor) -> Tensor:
    """The undirected pairs of next neighbours on a lattice: (2, K) int64, p < q in each, sorted.

    Next neighbours are at most one step apart along every axis: 8 on a grid, 26 in a cube, 2 on a line, fewer at the
    border. An 11 x 11 grid has 420 pairs (Truong & Hasson, arXiv 2508.00043).

    Args:
        positions: (C, D), points of a regular lattice in any order (grid2d, grid3d, line, sheet).
    """
    apart = torch.cdist(positions, positions, p=torch.inf)
    apart.fill_diagonal_(torch.inf)
    # the next step is twice as far; the half step of room is for rounding
    near = apart <= 1.5 * apart.min() if apart.isfinite().any() else torch.zeros_like(apart, dtype=torch.bool)
    return near.triu().nonzero().T.contiguous()


def sheet_cells(positions: Tensor) -> Tensor:
    """Which channel sits in which cell of a full rectangle: (h, w) int64, row-major.

    Args:
        positions: (C, 2), (column, row), in any order; a line (C, 1) is a sheet of one row.

    Raises:
        InputError: the positions leave cells of their rectangle empty.
    """
    places = torch.cat([positions, torch.zeros_like(positions)], 1)[:, :2]
    columns, column = torch.unique(places[:, 0], return_inverse=True)
    rows, row = torch.unique(places[:, 1], return_inverse=True)
    if positions.shape[1] > 2 or len(rows) * len(columns) != len(positions):
        raise InputError(
            f"{len(positions)} channels do not fill a rectangle of these positions; the sheet that this loss needs "
            "is topography 'sheet'"
        )
    cells: Tensor = (column + len(columns) * row).argsort().view(len(rows), len(columns))
    return cells
