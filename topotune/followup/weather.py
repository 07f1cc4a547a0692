"""Snow, frost, fog and brightness of CIFAR-10-C (Hendrycks & Dietterich, 2019) on images (N, C, H, W), float32 in
[0, 1], all images of a call at once.

The published frost pastes photographs of ice, which are not to be had here: ours are drawn, and so differ from them.
"""

import torch
from torch import Generator, Tensor

from topotune.followup.blur import streak, zoom
from topotune.followup.noise import stored

# mean and deviation of the flakes, zoom, threshold, radius and σ of the streak, weight of the image
SNOW = (
    (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
    (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
    (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
    (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
    (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
)
FROST = ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))  # weights of the image and of the ice
FOG = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))  # strength, decay of the roughness
BRIGHTNESS = (0.05, 0.1, 0.15, 0.2, 0.3)  # added to the HSV value

_ICE, _WHITE = (0.45, 0.53, 0.6), (0.9, 0.95, 1.0)  # colours between which a texture lies
_GREY = (0.299, 0.587, 0.114)


def snow(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Flakes, streaked at an angle of −135° to −45°, and the same turned by 180°, on a paler image."""
    mean, deviation, factor, threshold, radius, sigma, weight = SNOW[severity - 1]
    shape = (len(images), 1, *images.shape[2:])
    flakes = zoom(torch.randn(shape, generator=generator) * deviation + mean, factor)
    flakes = stored(torch.where(flakes < threshold, 0.0, flakes))
    angles = torch.empty(len(images)).uniform_(-135, -45, generator=generator)
    flakes = streak(flakes, radius, sigma, angles).to(images.device)
    paler = weight * images + (1 - weight) * torch.maximum(images, 1.5 * _grey(images) + 0.5)
    return stored(paler + flakes + flakes.flip(2, 3))


def _grey(images: Tensor) -> Tensor:
    """(N, 1, H, W): the luma of colours; grey images as they are."""
    if images.shape[1] == 1:
        return images
    return torch.einsum("nchw,c->nhw", images, images.new_tensor(_GREY)).unsqueeze(1)


def frost(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """w₀ · image + w₁ · ice. The ice is ours: ridges of a diamond-square map in a pale blue, another for each image."""
    own, ice = FROST[severity - 1]
    ridges = 1 - (2 * _cloud(len(images), images.shape[2:], 2.0, generator) - 1).abs()
    ridges = ridges.square().to(images.device)
    dark, light = images.new_tensor(_ICE).view(1, 3, 1, 1), images.new_tensor(_WHITE).view(1, 3, 1, 1)
    texture = dark + (light - dark) * ridges
    return stored(own * images + ice * (texture if images.shape[1] == 3 else _grey(texture)))


def fog(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """A diamond-square map laid over the image, which keeps its greatest value."""
    strength, decay = FOG[severity - 1]
    greatest = images.amax((1, 2, 3), keepdim=True)
    cloud = _cloud(len(images), images.shape[2:], decay, generator).to(images.device)
    return stored((images + strength * cloud) * greatest / (greatest + strength))


def _cloud(count: int, size: torch.Size, decay: float, generator: Generator) -> Tensor:
    """(N, 1, H, W) in 0 … 1: diamond-square maps on a torus, the least power of two that holds the image.

    At each level, the mean of four neighbours and U(−1, 1) · 100² / decay^(2·level): the published code has the
    roughness both before and within its uniform noise.
    """
    side = 1 << (max(size) - 1).bit_length()
    cloud, step, rough = torch.zeros(count, side, side), side, 100.0**2
    while step >= 2:
        half = step // 2
        corners = cloud[:, ::step, ::step]
        rows = corners + corners.roll(-1, 1)
        middles = _rough((rows + rows.roll(-1, 2)) / 4, rough, generator)
        cloud[:, half::step, half::step] = middles
        across = middles + middles.roll(1, 1) + corners + corners.roll(-1, 2)
        cloud[:, ::step, half::step] = _rough(across / 4, rough, generator)
        down = middles + middles.roll(1, 2) + corners + corners.roll(-1, 1)
        cloud[:, half::step, ::step] = _rough(down / 4, rough, generator)
        step, rough = half, rough / decay**2
    cloud -= cloud.amin((1, 2), keepdim=True)
    cloud /= cloud.amax((1, 2), keepdim=True)
    return cloud[:, None, : size[0], : size[1]]


def _rough(means: Tensor, rough: float, generator: Generator) -> Tensor:
    return means + torch.empty(means.shape).uniform_(-rough, rough, generator=generator)


def brightness(images: Tensor, severity: int, _generator: Generator) -> Tensor:
    """More HSV value, clipped: hue and saturation stay, so that all channels grow by the same factor."""
    value = images.amax(1, keepdim=True)
    brighter = (value + BRIGHTNESS[severity - 1]).clamp(max=1)
    return stored(torch.where(value > 0, images * (brighter / value.clamp(min=1e-6)), brighter))
