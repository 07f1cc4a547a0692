"""Contrast, elastic transformation, pixelation and JPEG of CIFAR-10-C (Hendrycks & Dietterich, 2019) on images
(N, C, H, W), float32 in [0, 1], all images of a call at once; JPEG alone takes one image after the other.
"""

import io
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Generator, Tensor
from torch.nn import functional as F

from topotune.followup.noise import stored

CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)
ELASTIC = ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))  # α, σ, jitter
PIXELATE = (0.95, 0.9, 0.85, 0.75, 0.65)  # of the side
JPEG = (80, 65, 58, 50, 40)  # quality


def contrast(images: Tensor, severity: int, _generator: Generator) -> Tensor:
    """(x − mean) · c + mean, the mean of each channel over the image."""
    mean = images.mean((2, 3), keepdim=True)
    return stored((images - mean) * CONTRAST[severity - 1] + mean)


def elastic_transform(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """A jittered affine map, then a smooth random displacement of each pixel; lengths in sides of the image."""
    count, _, height, width = images.shape
    side = min(height, width)
    alpha, sigma, jitter = (one * side for one in ELASTIC[severity - 1])
    rows, columns = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    pixels = torch.stack([columns, rows, torch.ones_like(rows)], -1).view(1, -1, 3)  # x, y, 1
    places: Tensor = (pixels @ _affine(count, height, width, jitter, generator)).view(count, height, width, 2)
    # beyond its edge the image is mirrored, first without repeating the outermost pixels, then with
    images = _sample(images, places.to(images.device), aligned=True)
    shift = torch.empty(count, 2, height, width).uniform_(-1, 1, generator=generator)
    shift = alpha * _smooth(shift, sigma)
    places = torch.stack([columns + shift[:, 0], rows + shift[:, 1]], -1)
    return stored(_sample(images, places.to(images.device), aligned=False))


def _affine(count: int, height: int, width: int, jitter: float, generator: Generator) -> Tensor:
    """(N, 3, 2): from where each pixel (x, y, 1) comes: three points around the middle are moved by U(−j, j) each."""
    middle, reach = torch.tensor([height // 2, width // 2]), min(height, width) // 3
    points = middle + reach * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    moved = points + torch.empty(count, 3, 2).uniform_(-jitter, jitter, generator=generator)
    solved: Tensor = torch.linalg.solve(torch.cat([moved, torch.ones(count, 3, 1)], 2), points.expand(count, 3, 2))
    return solved


def _smooth(fields: Tensor, sigma: float) -> Tensor:
    """Fields (N, 2, H, W) under a Gaussian that is cut off after 3 σ; beyond the edge they are mirrored."""
    reach = int(3 * sigma + 0.5)
    if reach == 0:
        return fields
    down, across = (_smoothing(size, sigma) for size in fields.shape[2:])
    return down @ (fields @ across.T)


@lru_cache(maxsize=32)
def _smoothing(size: int, sigma: float) -> Tensor:
    """(size, size): scipy's own Gaussian filter of a line."""
    return torch.from_numpy(ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="reflect", truncate=3)).float()


def _sample(images: Tensor, places: Tensor, *, aligned: bool) -> Tensor:
    """Bilinear values at places (N, H, W, 2), x and y in pixels; ``aligned``: mirrored about the outermost pixels'
    middles, otherwise about their edges."""
    size = places.new_tensor([images.shape[3], images.shape[2]])
    grid = 2 * places / (size - 1) - 1 if aligned else (2 * places + 1) / size - 1
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=aligned)


def pixelate(images: Tensor, severity: int, _generator: Generator) -> Tensor:
    """Fewer pixels by means over boxes, and back; rounded to 255ths after each pass, as Pillow does."""
    smaller = [max(int(size * PIXELATE[severity - 1]), 1) for size in images.shape[2:]]
    for size in (smaller, list(images.shape[2:])):
        down, across = (_boxes(old, new).to(images.device) for old, new in zip(images.shape[2:], size, strict=True))
        images = _whole(down @ _whole(images @ across.T))
    return images


@lru_cache(maxsize=64)
def _boxes(old: int, new: int) -> Tensor:
    """(new, old): Pillow's own means over boxes."""
    lines = Image.fromarray(np.eye(old, dtype=np.float32)).resize((old, new), Image.Resampling.BOX)
    return torch.from_numpy(np.array(lines))


def _whole(images: Tensor) -> Tensor:
    return images.mul(255).add_(0.5 + 1e-4).floor_().div_(255)


def jpeg_compression(images: Tensor, severity: int, _generator: Generator) -> Tensor:
    """Written and read by Pillow, with its own subsampling of colours."""
    pixels = images.mul(255).round().byte().movedim(1, -1).squeeze(-1).cpu().numpy()  # (N, H, W[, 3])
    read = np.empty_like(pixels)
    for number, picture in enumerate(pixels):  # of small images, threads spend more on waiting for one another
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=JPEG[severity - 1])
        read[number] = np.asarray(Image.open(file))
    found = torch.from_numpy(read).view(len(images), *images.shape[2:], -1).movedim(-1, 1)
    return found.to(images.device).float().div(255)
