"""Attacks within ε in each pixel (L∞), on images (N, C, H, W), float32 in [0, 1]; ε in 255ths of that range.

``logits`` maps such images to logits (N, K), and each image's depend on that image alone.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

STEPS = 20
REACH = 2.5  # the steps together, in ε: an image can cross the ball, as in Madry et al. (2018)

Logits = Callable[[Tensor], Tensor]


def fgsm(logits: Logits, images: Tensor, labels: Tensor, level: float, _generator: Generator) -> Tensor:
    """One step of ε along the sign of the loss's gradient (Goodfellow et al., 2015, section 4)."""
    return (images + level / 255 * _uphill(logits, images, labels)).clamp(0, 1)


def pgd(logits: Logits, images: Tensor, labels: Tensor, level: float, generator: Generator) -> Tensor:
    """20 steps of 2.5 · ε / 20 along that sign, each drawn back into the ball of ε and into [0, 1], from a random
    start in it (Madry et al., 2018, section 2)."""
    reach = level / 255
    low, high = (images - reach).clamp(min=0), (images + reach).clamp(max=1)
    start = torch.empty(images.shape).uniform_(-reach, reach, generator=generator)
    attacked = torch.clamp(images + start.to(images.device), low, high)
    for _ in range(STEPS):
        step = REACH * reach / STEPS * _uphill(logits, attacked, labels)
        attacked = torch.clamp(attacked + step, low, high)
    return attacked


@torch.enable_grad()
def _uphill(logits: Logits, images: Tensor, labels: Tensor) -> Tensor:
    """The sign of the gradient of each image's cross-entropy."""
    images = images.detach().requires_grad_()
    loss = F.cross_entropy(logits(images).float(), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    return gradient.sign()
