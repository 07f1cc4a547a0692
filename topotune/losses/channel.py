"""The channel-similarity loss of Poli, Dupoux & Riad (2022), equations 1 and 2.

N batch, C channels, P spatial positions; y activations (N, C, P), S similarities, T targets, D = S − T off the
diagonal.
Value and gradient are written out by hand, which spares every pass over the activations but the matrix products.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from topotune.errors import InputError
from topotune.losses.numerics import exact

EPSILON = 1e-8  # the least product of two norms
FEW = 32  # channels
DEAD = 1e-12  # a norm under this counts as zero where rows are scaled one by one


class Targets(NamedTuple):
    """Target similarities made ready for many steps. matrix: (C, C), zero diagonal; square: ‖matrix‖², float64."""

    matrix: Tensor
    square: Tensor


def ready(target: Tensor) -> Targets:
    """``channel_loss`` takes this in place of ``target`` (C, C), and saves its passes over it in every step."""
    matrix = target.detach().clone().fill_diagonal_(0)
    return Targets(matrix, matrix.double().square().sum())


def channel_loss(activations: Tensor, target: Tensor | Targets) -> Tensor:
    """Mean squared difference between the channels' cosine similarities and their targets; scalar, float32 or float64.

    2 / (C(C−1)) · Σ_{i<j} (S_ij − T_ij)², averaged over the batch, with S_ij the cosine similarity of channels i
    and j of one sample. The product of two norms is clamped at 1e-8, as the authors' code does, so that a channel
    that is zero everywhere has similarity 0; it gets no gradient. A layer with a single channel has no pair: its
    loss is 0.

    Args:
        activations: (N, C, *spatial), a layer's output before normalisation and activation. Half precision is
            computed in float32, and autocast does not reach in here. The gradient can be taken once.
        target: (C, C) target similarities, symmetric; the diagonal is not read. Or what ``ready`` makes of them.

    Raises:
        InputError: the target's size is not the activations' number of channels.
    """
    shape = (target.matrix if isinstance(target, Targets) else target).shape
    if activations.dim() < 2 or shape != (activations.shape[1],) * 2:
        raise InputError(f"a target of shape {tuple(shape)} does not fit activations {tuple(activations.shape)}")
    matrix, square = target if isinstance(target, Targets) else ready(target)
    channels, pixels = shape[0], activations[0, 0].numel()
    matrix = matrix.to(activations.device, torch.float64 if activations.dtype == torch.float64 else torch.float32)
    # few channels have few pairs: then the similarities themselves are as cheap, and nothing cancels
    if channels > max(pixels, FEW):
        square = square.to(activations.device)
        loss: Tensor = _ByPixels.apply(activations, matrix, square)  # type: ignore[no-untyped-call]
    else:
        loss = _ByChannels.apply(activations, matrix)  # type: ignore[no-untyped-call]
    return loss


def channel_similarity(activations: Tensor) -> Tensor:
    """Cosine similarities of the channels of (N, C, *spatial), averaged over the batch: (C, C)."""
    unit = F.normalize(_rows(exact(activations)), dim=2, eps=DEAD)
    rows = unit.transpose(0, 1).flatten(1)  # (C, N·P): the sum over the batch is part of the product
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ rows.T / len(activations)


def _pairs(y: Tensor) -> int:
    """Ordered pairs of different channels in the batch; 1 where there are none, for they are divided by."""
    samples, channels = y.shape[:2]
    return max(samples * channels * (channels - 1), 1)


def _rows(y: Tensor) -> Tensor:
    """(N, C, *spatial) -> (N, C, P)."""
    return y.flatten(2) if y.dim() > 2 else y.unsqueeze(2)


def _gradient_like(y: Tensor, dtype: torch.dtype) -> Tensor:
    """An empty gradient in the layout of y (N, C, *spatial); no view, so that autograd can add y's other gradient to
    it in place."""
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    layout = layouts.get(y.dim(), torch.contiguous_format) if y.stride(1) == 1 else torch.contiguous_format
    return torch.empty_like(y, dtype=dtype, memory_format=layout)


class _ByChannels(torch.autograd.Function):
    """The loss by way of the similarities (N, C, C), for layers with at least as many positions as channels.

    From R = y yᵀ come the norms (its diagonal) and S. The gradient is one more product, M y, with the symmetric

        M_ij = 4/K · D_ij / max(|y_i||y_j|, ε)   and   M_ii = −4/K · Σ_j D_ij S_ij / |y_i|²   (unclamped pairs)

    where K is the number of pairs, so that only M is kept for the backward pass beside y itself. A channel that is zero
    gets no gradient: the clamp's own, y_j / ε, would let one dead channel outweigh all else.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(y.device.type, enabled=False):
            rows = _rows(y).to(target.dtype)  # (N, C, P)
            products = rows @ rows.transpose(1, 2)  # R (N, C, C)
            square = products.diagonal(dim1=1, dim2=2).clone()  # (N, C)
            norm = torch.where(square > 0, square.sqrt(), torch.inf)
            scale = norm.unsqueeze(2) * norm.unsqueeze(1)
            unclamped = torch.ge(scale, EPSILON, out=torch.empty_like(scale))  # as numbers: bool would be converted
            scale.clamp_(min=EPSILON).reciprocal_()
            similarity = products.mul_(scale)
            difference = similarity - target
            difference.diagonal(dim1=1, dim2=2).zero_()
            loss = difference.flatten().dot(difference.flatten()) / _pairs(y)
            if ctx.needs_input_grad[0]:
                pull = similarity.mul_(difference).mul_(unclamped).sum(2)  # (N, C)
                matrix = difference.mul_(scale)
                matrix.diagonal(dim1=1, dim2=2).copy_(-pull / torch.where(square > 0, square, 1))
                ctx.save_for_backward(y, matrix)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        y, matrix = ctx.saved_tensors
        matrix = matrix * (gradient * (4 / _pairs(y)))
        if y.dtype == torch.bfloat16:  # the gradient's own precision; the product adds up in float32
            matrix = matrix.bfloat16()
        rows, result = _rows(y).to(matrix.dtype), _gradient_like(y, matrix.dtype)
        with torch.autocast(y.device.type, enabled=False):
            if y.stride(1) == 1:  # rows of channels in memory, and M is symmetric
                _rows(result).transpose(1, 2).baddbmm_(rows.transpose(1, 2), matrix, beta=0)
            else:
                _rows(result).baddbmm_(matrix, rows, beta=0)
        return result.to(y.dtype), None


class _ByPixels(torch.autograd.Function):
    """The loss without any (N, C, C), for layers with fewer positions than channels: with U the rows of y scaled to
    unit norm,

        Σ_{i≠j} (S_ij − T_ij)² = ‖UᵀU‖² − Σ_i |u_i|⁴ − 2 ⟨U, T U⟩ + ‖T‖²

    where UᵀU is only P x P. The gradient is 4/K · G, with G = U UᵀU − T U less its part along U, over the norms; and
    s_i = ⟨u_i, (U UᵀU − T U)_i⟩ gives ⟨U, T U⟩ = ‖UᵀU‖² − Σ s_i. U is kept as (N, P, C): T U is then one product for
    the whole batch. Exact, but for the clamp: it differs where two norms multiply to less than 1e-8.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, target: Tensor, target_square: Tensor) -> Tensor:
        with torch.autocast(y.device.type, enabled=False):
            turned = _rows(y).to(target.dtype).transpose(1, 2)  # (N, P, C)
            square = turned.square().sum(1, keepdim=True)  # (N, 1, C)
            alive = square > DEAD**2
            inverse = torch.where(alive, square, 1).rsqrt() * alive
            u = turned.contiguous() * inverse
            gram = u @ u.transpose(1, 2)  # (N, P, P)
            slope = (u.flatten(0, 1) @ target).view_as(u).baddbmm_(gram, u, beta=-1)  # U UᵀU − T U
            along = (slope * u).sum(1, keepdim=True)  # s (N, 1, C)
            # the terms nearly cancel where the similarities are near their targets, hence sums in double precision
            whole = 2 * along.sum(dtype=torch.float64) - gram.square_().sum((1, 2)).sum(dtype=torch.float64)
            rest = len(y) * target_square - alive.sum()
            loss: Tensor = ((whole + rest) / _pairs(y)).to(target.dtype)
            if ctx.needs_input_grad[0]:
                # of y only shape and layout are needed, but it is kept by the network in any case
                ctx.save_for_backward(y, slope.addcmul_(along, u, value=-1), inverse)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        y, slope, inverse = ctx.saved_tensors
        result = _gradient_like(y, y.dtype)
        _rows(result).transpose(1, 2).copy_(slope * (inverse * (gradient * (4 / _pairs(y)))))
        return result, None, None
