"""Noise on images (N, C, H, W), float32 in [0, 1]; a level or severity; a generator on the CPU, so that every device
has the same noise.

``white``, ``pink`` and ``salt_and_pepper`` are those of Truong & Hasson (arXiv 2508.00043), levels .01 to .2; the other
three are of CIFAR-10-C (Hendrycks & Dietterich, 2019).
"""

import torch
from torch import Generator, Tensor

GAUSSIAN = (0.04, 0.06, 0.08, 0.09, 0.10)  # deviation
SHOT = (500, 250, 100, 75, 50)  # photons of a white pixel
IMPULSE = (0.01, 0.02, 0.03, 0.05, 0.07)  # share of the values


def white(images: Tensor, level: float, generator: Generator) -> Tensor:
    """x + level · N(0, 1), clamped."""
    return (images + level * _normal(images, generator)).clamp(0, 1)


def pink(images: Tensor, level: float, generator: Generator) -> Tensor:
    """x + level · noise, clamped: per image and channel white noise, whose spectrum is divided by the frequency, with
    mean 0 and deviation 1."""
    height, width = images.shape[2:]
    frequency = torch.hypot(torch.fft.fftfreq(height).unsqueeze(1), torch.fft.rfftfreq(width).unsqueeze(0))
    frequency[0, 0] = 1.0  # the mean, which goes anyway
    spectrum = torch.fft.rfft2(_normal(images, generator)) / frequency.to(images.device)
    noise: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    noise = noise - noise.mean((2, 3), keepdim=True)
    return (images + level * noise / noise.std((2, 3), keepdim=True, correction=0)).clamp(0, 1)


def salt_and_pepper(images: Tensor, level: float, generator: Generator) -> Tensor:
    """int(P · level) of an image's P pixels, drawn with replacement: the first half of them black, the others white, in
    all channels together."""
    count, pixels = len(images), images.shape[2] * images.shape[3]
    drawn = torch.randint(pixels, (count, int(pixels * level)), generator=generator).to(images.device)
    black, white_ones = drawn.tensor_split([drawn.shape[1] // 2], dim=1)
    changed = torch.full((count, pixels), -1.0, device=images.device)
    changed.scatter_(1, black, 0.0).scatter_(1, white_ones, 1.0)
    changed = changed.view(count, 1, *images.shape[2:])
    return torch.where(changed < 0, images, changed)


def gaussian_noise(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """x + N(0, σ)."""
    return stored(images + GAUSSIAN[severity - 1] * _normal(images, generator))


def shot_noise(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Poisson(x · c) / c."""
    photons = SHOT[severity - 1]
    return stored((torch.poisson(images.cpu() * photons, generator) / photons).to(images.device))


def impulse_noise(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Each value for itself becomes 0 or 1, with even chances, in a share of the values."""
    share, drawn = IMPULSE[severity - 1], torch.rand(images.shape, generator=generator).to(images.device)
    # what is drawn below the share is uniform there: its upper half is salt
    return stored(torch.where(drawn < share, (drawn >= share / 2).float(), images))


def stored(images: Tensor) -> Tensor:
    """Clipped, and cut down to whole 255ths, as CIFAR-10-C is stored (uint8 by truncation).

    A thousandth of a step is allowed for rounding: a pixel that nothing has changed stays as it is.
    """
    return images.clamp(0, 1).mul(255).add_(1e-3).floor_().div_(255)


def _normal(images: Tensor, generator: Generator) -> Tensor:
    return torch.randn(images.shape, generator=generator).to(images.device)
