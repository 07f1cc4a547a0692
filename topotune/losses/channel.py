"""The channel-similarity loss of Poli, Dupoux & Riad (2022), equations 1 and 2.

N batch, C channels, P spatial positions.
"""

import torch
from torch import Tensor

from topotune.errors import InputError

EPSILON = 1e-8


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
        difference = _similarity(y) - target.to(y)  # (N, C, C)
        others = 1 - torch.eye(channels, dtype=y.dtype, device=y.device)
        return (difference * others).square().sum() / (len(y) * channels * (channels - 1))


def _similarity(y: Tensor) -> Tensor:
    """Cosine similarities (N, C, C) of the rows of y (N, C, P)."""
    square = y.square().sum(2)
    # the square root's slope at zero is infinite: a zero row gets norm 0 and gradient 0
    norm = torch.where(square > 0, square, 1).sqrt() * (square > 0)
    return (y @ y.transpose(1, 2)) / (norm.unsqueeze(2) * norm.unsqueeze(1)).clamp(min=EPSILON)
