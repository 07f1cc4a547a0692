"""The channel-similarity loss of Poli, Dupoux & Riad (2022), equations 1 and 2.

N batch, C channels, P spatial positions.
"""

import torch
from torch import Tensor

from topotune.errors import InputError

EPSILON = 1e-8
DEAD = 1e-12  # a norm under this counts as zero: to divide by it would give infinite gradients


def channel_loss(activations: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference between the channels' cosine similarities and their targets; scalar, float32 or float64.

    2 / (C(C−1)) · Σ_{i<j} (S_ij − T_ij)², averaged over the batch, with S_ij the cosine similarity of channels i
    and j of one sample. The product of two norms is clamped at 1e-8, as the authors' code does, so that a channel
    that is zero everywhere has similarity 0. A layer with a single channel has no pair: its loss is 0.

    Args:
        activations: (N, C, *spatial), a layer's output before normalisation and activation. Half precision is
            computed in float32, and autocast does not reach in here.
        target: (C, C) target similarities; the diagonal is not read.

    Raises:
        InputError: the target's size is not the activations' number of channels.
    """
    if activations.dim() < 2 or target.shape != (activations.shape[1],) * 2:
        raise InputError(f"a target of shape {tuple(target.shape)} does not fit activations {tuple(activations.shape)}")
    with torch.autocast(activations.device.type, enabled=False):
        y = activations.flatten(2) if activations.dim() > 2 else activations.unsqueeze(2)  # (N, C, P)
        y = y if y.dtype == torch.float64 else y.float()
        channels = y.shape[1]
        if channels == 1:
            return y.sum() * 0
        squares = _by_pixels(y, target) if channels > y.shape[2] else _by_channels(y, target)
        return (squares / (len(y) * channels * (channels - 1))).to(y.dtype)


def _by_channels(y: Tensor, target: Tensor) -> Tensor:
    """Σ over samples and pairs i ≠ j of (S_ij − T_ij)², from the similarities (N, C, C) themselves."""
    norm = _norm(y)
    similarity = (y @ y.transpose(1, 2)) / (norm @ norm.transpose(1, 2)).clamp(min=EPSILON)
    others = 1 - torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
    return ((similarity - target.to(y)) * others).square().sum()


def _by_pixels(y: Tensor, target: Tensor) -> Tensor:
    """The same sum without any (N, C, C): for U the rows of y scaled to unit norm and T without its diagonal,

        Σ_{i≠j} (S_ij − T_ij)² = ‖UᵀU‖² − Σ_i |u_i|⁴ − 2 ⟨U, T U⟩ + ‖T‖²

    where UᵀU is only P x P. Exact, but for the clamp: it differs where two norms multiply to less than 1e-8.
    """
    norm = _norm(y)
    alive = norm > DEAD
    u = y / torch.where(alive, norm, 1)
    wanted = target.to(y) * (1 - torch.eye(y.shape[1], dtype=y.dtype, device=y.device))
    gram = u.transpose(1, 2) @ u  # (N, P, P)
    # the terms nearly cancel where the similarities are near their targets, hence sums in double precision
    whole = gram.square().sum(dtype=torch.float64) - 2 * (u * (wanted @ u)).sum(dtype=torch.float64)
    return whole - alive.sum() + len(y) * wanted.square().sum(dtype=torch.float64)


def _norm(y: Tensor) -> Tensor:
    """Norms (N, C, 1) of the rows of y (N, C, P); the gradient at a zero row is 0, not infinite."""
    square = y.square().sum(2, keepdim=True)
    return torch.where(square > 0, square, 1).sqrt() * (square > 0)
