"""Giving channels positions: by swaps that lower a loss, or by quadratic assignment.

A loss over pairs of channels is, as far as positions matter, −⟨A, B_π⟩ = −Σ_ij A_ij B_π(i)π(j): A the channels'
affinity (their similarity, say), B the closeness of the positions, π(i) the position that channel i has.
"""

import math

import numpy as np
import torch
from scipy.optimize import quadratic_assignment
from torch import Tensor

from topotune.errors import InputError


def closeness(geometry: Tensor, positions: int) -> Tensor:
    """What a loss makes of positions, as a symmetric matrix (C, C) in float64 with a zero diagonal.

    Args:
        geometry: target similarities (C, C), or neighbouring pairs (2, K) of indices.
        positions: C.
    """
    if geometry.dtype.is_floating_point:
        return geometry.double().clone().fill_diagonal_(0)
    matrix = torch.zeros(positions, positions, dtype=torch.float64)
    matrix[geometry[0], geometry[1]] = matrix[geometry[1], geometry[0]] = 1
    return matrix


def swap(affinity: Tensor, close: Tensor, permutation: Tensor) -> Tensor:
    """Exchange channels' positions, two and two, until no exchange of two gains anything.

    In each round all pairs that prefer each other are exchanged at once; where that gains nothing, since they
    disturb one another, the better half of them, and so on down to the best. A round costs one product of C x C.

    Args:
        affinity: (C, C), symmetric; the diagonal is not read.
        close: (C, C), symmetric, zero on the diagonal.
        permutation: (C,), the positions that the channels have now.

    Returns:
        (C,), the positions that they have then.
    """
    (a, b), order = _checked(affinity, close), permutation.cpu()
    if not torch.equal(order.sort().values, torch.arange(len(a))):
        raise InputError(f"{order.tolist()} is no permutation of {len(a)} positions")
    least = 1e-12 * max(float((a * b[order][:, order]).abs().sum()), 1e-300)
    while True:
        near = b[order][:, order]
        product = a @ near
        own = product.diagonal()
        # what the exchange of i and j adds to ⟨A, B_π⟩ / 4
        gain = (product + product.T - own.unsqueeze(0) - own.unsqueeze(1)) / 2 + a * near
        best, partner = gain.max(1)
        index = torch.arange(len(order))
        chosen = index[(partner[partner] == index) & (index < partner) & (best > least)]
        chosen = chosen[best[chosen].argsort(descending=True)]
        value = (a * near).sum()
        while len(chosen):
            changed = order.clone()
            changed[chosen], changed[partner[chosen]] = order[partner[chosen]], order[chosen]
            if (a * b[changed][:, changed]).sum() > value + least:
                break
            chosen = chosen[: len(chosen) // 2]
        if not len(chosen):
            return order
        order = changed


def assign(affinity: Tensor, close: Tensor) -> Tensor:
    """Positions for channels by quadratic assignment: scipy's FAQ (Vogelstein et al. 2015), then ``swap``.

    Args:
        affinity: (C, C), symmetric; the diagonal is not read.
        close: (C, C), symmetric, zero on the diagonal.

    Returns:
        (C,), the position of each channel; never worse than the channels' own order.
    """
    a, b = _checked(affinity, close)
    if len(a) < 2:
        return torch.arange(len(a))
    # it starts from the barycentre, unshuffled, so that nothing is drawn; but it looks at numpy's own generator
    # where it is given none
    options = {"maximize": True, "rng": np.random.default_rng(0)}
    solved = quadratic_assignment(a.numpy(), b.numpy(), method="faq", options=options)
    starts = (torch.from_numpy(solved.col_ind.astype("int64")), torch.arange(len(a)))
    found = [swap(a, b, start) for start in starts]
    return max(found, key=lambda order: float((a * b[order][:, order]).sum()))


def _checked(affinity: Tensor, close: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64 on the CPU, the affinity with a zero diagonal.

    Raises:
        InputError: they are not square, of one size, symmetric and finite.
    """
    a, b = affinity.detach().double().cpu().clone(), close.detach().double().cpu()
    if a.dim() != 2 or a.shape != (len(a), len(a)) or a.shape != b.shape:
        raise InputError(f"an affinity of shape {tuple(a.shape)} does not fit a closeness of {tuple(b.shape)}")
    for name, matrix in (("affinity", a), ("closeness", b)):
        scale = float(matrix.abs().max()) if len(matrix) else 0.0
        if not math.isfinite(scale) or not torch.allclose(matrix, matrix.T, rtol=0, atol=1e-4 * scale):
            raise InputError(f"an {name} of channels must be finite and symmetric")
    return a.fill_diagonal_(0), b
