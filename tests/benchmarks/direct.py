"""The channel loss as its formula says it, with plain torch operations: what ours is measured against."""

import torch
from torch import Tensor


def direct(activations: Tensor, target: Tensor) -> Tensor:
    """2 / (C(C−1)) · Σ_{i<j} (S_ij − T_ij)², averaged over the batch; (N, C, *spatial), (C, C) -> scalar."""
    y = activations.flatten(2).to(target.dtype)
    norm = y.norm(dim=2)
    similarity = y @ y.transpose(1, 2) / (norm.unsqueeze(2) * norm.unsqueeze(1)).clamp(min=1e-8)
    channels = y.shape[1]
    off = 1 - torch.eye(channels, dtype=target.dtype, device=target.device)
    return ((similarity - target).square() * off).sum() / max(len(y) * channels * (channels - 1), 1)
