"""What the losses share: their precision, rows of length 1, and sums over the ranks that train together."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def exact(values: Tensor) -> Tensor:
    """Statistics are taken in float32, or in float64 where that is given."""
    return values if values.dtype == torch.float64 else values.float()


def unit_rows(rows: Tensor) -> Tensor:
    """Rows (C, E) scaled to length 1; a row of zeros stays, and gets gradient 0."""
    square = rows.square().sum(1, keepdim=True)
    alive = square > torch.finfo(rows.dtype).tiny
    return rows * (torch.where(alive, square, 1).rsqrt() * alive)


def ranks() -> int:
    """How many processes train together; 1 where torch.distributed is not at work."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gathered(values: Tensor) -> Tensor:
    """The sum of the ranks' ``values``; the gradient of each is the sum of the ranks' gradients.

    With the mean over the ranks that DistributedDataParallel takes, every sample then counts once.
    """
    if ranks() == 1:
        return values
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
