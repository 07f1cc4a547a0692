"""The channel-similarity loss of Poli, Dupoux & Riad (2022), equations 1 and 2.

N batch, C channels, P spatial positions; y activations (N, C, P), S similarities, T targets, D = S − T off the
diagonal.
Value and gradient are written out by hand, which spares every pass over the activations but the matrix products.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from topotune.errors import InputError

EPSILON = 1e-8  # the least product of two norms
FEW = 32  # channels
DEAD = 1e-12  # a norm under this counts as zero where rows are scaled one by one


def channel_loss(activations: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference between the channels' cosine similarities and their targets; scalar, float32 or float64.

    2 / (C(C−1)) · Σ_{i<j} (S_ij − T_ij)², averaged over the batch, with S_ij the cosine similarity of channels i
    and j of one sample. The product of two norms is clamped at 1e-8, as the authors' code does, so that a channel
    that is zero everywhere has similarity 0. A layer with a single channel has no pair: its loss is 0.

    Args:
        activations: (N, C, *spatial), a layer's output before normalisation and activation. Half precision is
            computed in float32, and autocast does not reach in here. The gradient can be taken once.
        target: (C, C) target similarities, symmetric; the diagonal is not read.

    Raises:
        InputError: the target's size is not the activations' number of channels.
    """
    if activations.dim() < 2 or target.shape != (activations.shape[1],) * 2:
        raise InputError(f"a target of shape {tuple(target.shape)} does not fit activations {tuple(activations.shape)}")
    y = activations.flatten(2) if activations.dim() > 2 else activations.unsqueeze(2)  # (N, C, P)
    channels, pixels = y.shape[1:]
    exact = torch.float64 if y.dtype == torch.float64 else torch.float32
    wanted = target.detach().to(y.device, exact).clone().fill_diagonal_(0)
    # few channels have few pairs: then the similarities themselves are as cheap, and nothing cancels
    form = _ByPixels if channels > max(pixels, FEW) else _ByChannels
    loss: Tensor = form.apply(y, wanted)  # type: ignore[no-untyped-call]
    return loss


def channel_similarity(activations: Tensor) -> Tensor:
    """Cosine similarities of the channels of (N, C, *spatial), averaged over the batch: (C, C)."""
    y = activations if activations.dtype == torch.float64 else activations.float()
    with torch.autocast(y.device.type, enabled=False):
        unit = F.normalize(y.flatten(2) if y.dim() > 2 else y.unsqueeze(2), dim=2, eps=DEAD)
        rows = unit.transpose(0, 1).flatten(1)  # (C, N·P): the sum over the batch is part of the product
        return rows @ rows.T / len(y)


def _pairs(y: Tensor) -> int:
    """Ordered pairs of different channels in the batch; 1 where there are none, for they are divided by."""
    samples, channels = y.shape[:2]
    return max(samples * channels * (channels - 1), 1)


class _ByChannels(torch.autograd.Function):
    """The loss by way of the similarities (N, C, C), for layers with at least as many positions as channels.

    From R = y yᵀ come the norms (its diagonal) and S. The gradient is one more product, M y, with the symmetric

        M_ij = 4/K · D_ij / max(|y_i||y_j|, ε)   and   M_ii = −4/K · Σ_j D_ij S_ij / |y_i|²   (unclamped pairs)

    where K is the number of pairs, so that only M is kept for the backward pass beside y itself.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(y.device.type, enabled=False):
            exact = y.to(target.dtype)
            products = exact @ exact.transpose(1, 2)  # R (N, C, C)
            square = products.diagonal(dim1=1, dim2=2)  # (N, C)
            norm = square.sqrt()
            scale = norm.unsqueeze(2) * norm.unsqueeze(1)
            clamped = scale < EPSILON
            scale = scale.clamp_(min=EPSILON).reciprocal_()
            similarity = products.mul_(scale)
            difference = similarity - target
            difference.diagonal(dim1=1, dim2=2).zero_()
            loss = difference.square().sum() / _pairs(y)
            if ctx.needs_input_grad[0]:
                pull = similarity.mul_(difference).masked_fill_(clamped, 0).sum(2)  # (N, C)
                matrix = difference.mul_(scale)
                matrix.diagonal(dim1=1, dim2=2).copy_(-pull / torch.where(norm > 0, norm.square(), 1))
                ctx.save_for_backward(y, matrix.mul_(4 / _pairs(y)))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        y, matrix = ctx.saved_tensors
        exact, matrix = y.to(matrix.dtype), matrix * gradient
        if y.stride(1) == 1:  # channels last: the gradient gets the same layout, for M is symmetric
            return (exact.transpose(1, 2) @ matrix).to(y.dtype).transpose(1, 2), None
        return (matrix @ exact).to(y.dtype), None


class _ByPixels(torch.autograd.Function):
    """The loss without any (N, C, C), for layers with fewer positions than channels: with U the rows of y scaled to
    unit norm,

        Σ_{i≠j} (S_ij − T_ij)² = ‖UᵀU‖² − Σ_i |u_i|⁴ − 2 ⟨U, T U⟩ + ‖T‖²

    where UᵀU is only P x P. The gradient is 4/K · (U UᵀU − T U), less its part along U, over the norms. Exact, but
    for the clamp: it differs where two norms multiply to less than 1e-8.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(y.device.type, enabled=False):
            exact = y.to(target.dtype)
            norm = torch.linalg.vector_norm(exact, dim=2, keepdim=True)  # (N, C, 1)
            alive = (norm > DEAD).to(norm.dtype)
            norm = torch.where(norm > DEAD, norm, 1)
            u = exact / norm * alive
            gram = u.transpose(1, 2) @ u  # (N, P, P)
            wanted = target @ u  # (N, C, P)
            # the terms nearly cancel where the similarities are near their targets, hence sums in double precision
            cross = (u * wanted).sum(dtype=torch.float64)
            whole = gram.square().sum(dtype=torch.float64) - 2 * cross
            rest = len(y) * target.square().sum(dtype=torch.float64) - alive.sum()
            loss: Tensor = ((whole + rest) / _pairs(y)).to(target.dtype)
            if ctx.needs_input_grad[0]:
                slope = torch.baddbmm(wanted, u, gram, beta=-1)  # U UᵀU − T U
                slope -= (slope * u).sum(2, keepdim=True) * u
                ctx.save_for_backward(slope.mul_(alive * (4 / _pairs(y)) / norm))
                ctx.dtype = y.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return (slope * gradient).to(ctx.dtype), None
