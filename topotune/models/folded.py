"""Layers of compact networks: what constant channels add is a parameter of theirs.

K channels that are computed, of C in the whole network; k_h, k_w the kernel's size.
"""

from typing import Any

import torch
from torch import Tensor, nn


class BorderedConv2d(nn.Conv2d):
    """A convolution padded with zeros, and what constant channels, which are missing at the borders, add to it.

    border: (out, 1, k_h, k_w), the constants times their kernels; it is laid over a plane of ones, once a batch.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.border = nn.Parameter(torch.empty_like(self.weight[:, :1]))

    def forward(self, input: Tensor) -> Tensor:
        ones = input.new_ones(1, 1, *input.shape[2:])
        # with the bias: it costs nothing there
        constant: Tensor = self._conv_forward(ones, self.border, self.bias)
        output: Tensor = self._conv_forward(input, self.weight, None)
        return output + constant


class Sum(nn.Module):
    """The sum of two tensors with some of K channels each: (N, A, …), (N, B, …) -> (N, K, …).

    first: (A,), second: (B,), where the channels of each stand among the K. offset: (K,), the constants that are
    added to those that stand in one of the two only.
    """

    def __init__(self, first: Tensor, second: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)
        self.offset = nn.Parameter(offset.float())

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        assert isinstance(self.first, Tensor)
        assert isinstance(self.second, Tensor)
        total = self.offset.to(one.dtype).view(-1, *[1] * (one.dim() - 2))
        if len(self.first) == len(self.offset):
            return (one + total).index_add(1, self.second, other.to(one.dtype))
        total = total.expand(len(one), -1, *one.shape[2:])
        return total.index_add(1, self.first, one).index_add(1, self.second, other.to(one.dtype))


class Whole(nn.Module):
    """All channels, the constant ones in their places: (N, K, …) -> (N, C, …). kept: (K,). constant: (C,)."""

    def __init__(self, kept: Tensor, constant: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept, persistent=False)
        self.constant = nn.Parameter(constant.float())

    def forward(self, input: Tensor) -> Tensor:
        assert isinstance(self.kept, Tensor)
        constant = self.constant.to(input.dtype).view(-1, *[1] * (input.dim() - 2))
        return constant.expand(len(input), -1, *input.shape[2:]).index_copy(1, self.kept, input)
