"""How similar two channels should be, from how far apart they sit."""

import torch
from torch import Tensor

from topotune.errors import unknown
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
