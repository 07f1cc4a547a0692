"""The four blurs of CIFAR-10-C (Hendrycks & Dietterich, 2019) on images (N, C, H, W), float32 in [0, 1], all images of
a call at once. Lengths are in pixels, whatever the size of the images.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Generator, Tensor
from torch.nn import functional as F

from topotune.followup.noise import stored

DEFOCUS = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))  # radius of the disk, σ that smooths it
GLASS = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))  # σ, rounds; max_delta is 1 in all of them
MOTION = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))  # radius, σ
ZOOM = (1.06, 1.11, 1.16, 1.21, 1.26)  # where the factors, from 1 in steps of 0.01, end

_NEGLIGIBLE = 1e-5  # of a kernel's sum: a four-hundredth of one step of 255


def defocus_blur(images: Tensor, severity: int, _generator: Generator) -> Tensor:
    """The image filtered by a disk, whose edge is smoothed by a Gaussian of 3×3."""
    kernel = _disk(*DEFOCUS[severity - 1]).to(images.device)
    reach, channels = kernel.shape[0] // 2, images.shape[1]
    padded = F.pad(images, (reach,) * 4, mode="reflect")
    return stored(F.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels))


def _disk(radius: float, sigma: float) -> Tensor:
    """(k, k): a disk's pixels, smoothed; 5×5 holds all of the radii above."""
    across = torch.arange(-2.0, 3.0)
    disk = (across.unsqueeze(1) ** 2 + across**2 <= radius**2).float()
    tap = torch.tensor([1.0, 0.0, 1.0]).neg().div(2 * sigma**2).exp()
    smooth = torch.outer(tap, tap)
    return F.conv2d((disk / disk.sum()).view(1, 1, 5, 5), (smooth / smooth.sum()).view(1, 1, 3, 3), padding=1)[0, 0]


def glass_blur(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Smoothed; then each inner pixel takes the value of itself or a neighbour above or left; smoothed again.

    The published loop goes from the last pixel to the first and only looks up and left, where nothing has been
    replaced yet: all of a round's pixels can be taken at once.
    """
    sigma, rounds = GLASS[severity - 1]
    images = stored(gaussian(images, sigma))
    count, channels, height, width = images.shape
    rows, columns = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    inner = (rows >= 2) & (columns >= 2)
    for _ in range(rounds):
        step = torch.randint(-1, 1, (2, count, height, width), generator=generator) * inner
        place = (rows + step[0]) * width + columns + step[1]  # (N, H, W)
        place = place.view(count, 1, -1).expand(-1, channels, -1).to(images.device)
        images = images.flatten(2).gather(2, place).view(images.shape)
    return stored(gaussian(images, sigma))


def gaussian(images: Tensor, sigma: float, truncate: float = 4.0) -> Tensor:
    """A Gaussian of σ pixels, cut off after truncate · σ; the outermost pixels are repeated."""
    reach = int(truncate * sigma + 0.5)
    if reach == 0:
        return images
    taps = torch.arange(-reach, reach + 1, device=images.device).square().div(-2 * sigma**2).exp()
    taps, channels = taps / taps.sum(), images.shape[1]
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    down = F.conv2d(padded, taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(down, taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def motion_blur(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Along a line at an angle of −45° to 45°, each image at its own."""
    radius, sigma = MOTION[severity - 1]
    angles = torch.empty(len(images)).uniform_(-45, 45, generator=generator)
    return stored(streak(images, radius, sigma, angles))


def streak(images: Tensor, radius: int, sigma: float, angles: Tensor) -> Tensor:
    """ImageMagick's motion blur, rounded to 255ths: 2·radius + 1 taps of half a Gaussian, on the pixels next to a line
    from each pixel; the outermost pixels are repeated. angles: (N,) in degrees."""
    taps = torch.arange(2 * radius + 1).square().div(-2 * sigma**2).exp()
    taps = taps / taps.sum()
    along = torch.arange(len(taps))[taps > _NEGLIGIBLE]
    turned = torch.deg2rad(angles).double()
    right = (torch.outer(turned.cos(), along.double()) - 0.5).ceil().long()  # (N, taps)
    below = (torch.outer(turned.sin(), along.double()) - 0.5).ceil().long()
    (height, width), reach = images.shape[2:], int(along[-1])
    padded = F.pad(images, (reach,) * 4, mode="replicate").flatten(2)
    across = width + 2 * reach
    inner = (torch.arange(height).unsqueeze(1) + reach) * across + torch.arange(width) + reach
    inner, offsets = inner.view(1, 1, -1).to(images.device), (below * across + right).to(images.device)
    blurred = torch.zeros_like(images).flatten(2)
    for tap, weight in enumerate(taps[along].tolist()):
        place = inner + offsets[:, tap].view(-1, 1, 1)  # (N, 1, H·W)
        blurred.add_(padded.gather(2, place.expand(-1, images.shape[1], -1)), alpha=weight)
    return blurred.div_(taps[along].sum()).mul_(255).round_().div_(255).view(images.shape)


def zoom_blur(images: Tensor, severity: int, _generator: Generator) -> Tensor:
    """The mean of the image and of its centre zoomed by each factor."""
    factors = np.arange(1, ZOOM[severity - 1], 0.01)
    total = images.clone()
    for factor in factors.tolist():
        total += zoom(images, factor)
    return stored(total / (len(factors) + 1))


def zoom(images: Tensor, factor: float) -> Tensor:
    """The centre of images (N, C, H, W), linearly interpolated to the whole size."""
    down, across = (_zoom_matrix(size, factor).to(images.device) for size in images.shape[2:])
    return down @ (images @ across.T)


@lru_cache(maxsize=256)
def _zoom_matrix(size: int, factor: float) -> Tensor:
    """(size, size): scipy's own zoom of order 1, of a line; in two dimensions it is one after the other."""
    crop = math.ceil(size / factor)
    first = (size - crop) // 2
    zoomed = ndimage.zoom(np.eye(crop), (factor, 1), order=1)  # (about size, crop)
    trim = (len(zoomed) - size) // 2
    matrix = torch.zeros(size, size)
    matrix[:, first : first + crop] = torch.from_numpy(zoomed[trim : trim + size]).float()
    return matrix
