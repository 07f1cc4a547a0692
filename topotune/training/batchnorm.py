"""Batch normalisation over all ranks' samples: what one process with the whole batch would compute."""

import torch
from torch import Tensor, nn

from topotune.losses.numerics import exact, gathered


def synchronise(model: nn.Module, device: torch.device) -> nn.Module:
    """Let the batch normalisations of ``model`` take their statistics over the ranks; parameters and names stay.

    torch's own on a GPU. That one refuses CPUs, where a plainer form of the same does it.
    """
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _GatheredBatchNorm
    return model


class _GatheredBatchNorm(nn.BatchNorm2d):
    """(N, C, H, W) -> the same; statistics in float32, in two exchanges, so that nothing cancels."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.autocast(input.device.type, enabled=False):
            values = exact(input)
            sums = gathered(torch.cat([values.sum((0, 2, 3)), values.new_tensor([values[:, 0].numel()])]))
            count = sums[-1].detach()
            mean = sums[:-1] / count
            centred = values - mean.view(1, -1, 1, 1)
            variance = gathered(centred.square().sum((0, 2, 3))) / count
            with torch.no_grad():
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean.detach(), self.momentum)
                self.running_var.lerp_(variance.detach() * count / (count - 1), self.momentum)
            scale = (variance + self.eps).rsqrt() * self.weight
            return torch.addcmul(self.bias.view(1, -1, 1, 1), centred, scale.view(1, -1, 1, 1)).to(input.dtype)
