"""The corruptions against their definitions, worked out another way: by hand, pixel by pixel, by scipy and Pillow."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Generator, Tensor

from topotune.followup import blur, digital, noise, weather


def _images(count: int = 4, channels: int = 3, size: int = 32) -> Tensor:
    pixels = torch.randint(256, (count, channels, size, size), generator=Generator().manual_seed(0))
    return pixels / 255


def _seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def test_stored_values_are_cut_down_not_rounded() -> None:
    found = noise.stored(torch.tensor([0.99 / 255, 1.5 / 255, 254.9 / 255, -0.2, 1.3])) * 255
    assert found.round().tolist() == [0, 1, 254, 0, 255]
    every = torch.arange(256) / 255
    assert torch.equal((noise.stored(every) * 255).round(), torch.arange(256.0))


@pytest.mark.parametrize("severity", [1, 5])
def test_noise_has_its_size(severity: int) -> None:
    grey = torch.full((20, 3, 32, 32), 0.5)
    sigma = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    found = noise.gaussian_noise(grey, severity, _seeded())
    assert found.std().item() == pytest.approx(sigma, rel=0.03)
    photons = (500, 250, 100, 75, 50)[severity - 1]
    found = noise.shot_noise(grey, severity, _seeded())
    assert found.std().item() == pytest.approx(math.sqrt(0.5 / photons), rel=0.03)
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    found = noise.impulse_noise(grey, severity, _seeded())
    for value in (0.0, 1.0):
        assert (found == value).double().mean().item() == pytest.approx(share / 2, rel=0.15)


def test_salt_and_pepper_touches_whole_pixels() -> None:
    grey = torch.full((6, 3, 10, 10), 0.5)
    found = noise.salt_and_pepper(grey, 0.2, _seeded())
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, 0], found[:, 2])
    touched = (found[:, 0] != 0.5).sum((1, 2))
    assert touched.max() <= 20  # drawn with replacement
    assert touched.min() >= 12
    assert (found[:, 0] == 1).sum((1, 2)).max() <= 10
    assert (found[:, 0] == 0).sum((1, 2)).max() <= 10
    assert torch.equal(noise.salt_and_pepper(grey, 0.009, _seeded()), grey)


def test_pink_noise_falls_with_the_frequency() -> None:
    grey = torch.full((60, 1, 32, 32), 0.5)
    added = noise.pink(grey, 0.05, _seeded()) - grey
    assert added.mean((2, 3)).abs().max() < 1e-5
    assert added.std((2, 3), correction=0).min() == pytest.approx(0.05, rel=1e-3)
    power = torch.fft.fft2(added).abs().square().mean((0, 1))
    # amplitude 1/f: at four times the frequency a sixteenth of the power
    assert (power[0, 1:3].mean() / power[0, 4:12].mean()).item() > 5
    ratio = power[0, 2] / power[0, 8]
    assert 8 < ratio.item() < 32


def test_a_narrow_defocus_is_a_small_gaussian() -> None:
    """Radius 0.3: the disk is one pixel, and what is left is a 3×3 Gaussian of σ 0.4."""
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1
    found = blur.defocus_blur(point, 1, _seeded())[0, 0]
    side = math.exp(-1 / (2 * 0.4**2))
    total = (1 + 2 * side) ** 2
    assert found[4, 4].item() == pytest.approx(int(255 / total) / 255)
    assert found[4, 5].item() == pytest.approx(int(255 * side / total) / 255)
    assert found[:3].sum() == 0


def test_a_wide_defocus_is_a_disk() -> None:
    """Radius 1.5: the 9 pixels within it alike; σ 0.1 smooths nothing."""
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1
    found = (blur.defocus_blur(point, 5, _seeded())[0, 0] * 255).round()
    assert (found[3:6, 3:6] == 28).all()  # 255 / 9 = 28.33
    assert found.sum() == 9 * 28


@pytest.mark.parametrize("severity", [2, 5])
def test_glass_is_the_published_loop(severity: int) -> None:
    """One pixel after the other, from the last to the first, each taking its neighbour's value."""
    images, (sigma, rounds) = _images(3), blur.GLASS[severity - 1]
    found = blur.glass_blur(images, severity, _seeded(1))
    generator = _seeded(1)
    drawn = [torch.randint(-1, 1, (2, 3, 32, 32), generator=generator) for _ in range(rounds)]
    for number in range(3):
        expected = noise.stored(blur.gaussian(images[number : number + 1], sigma))[0].numpy()
        for steps in drawn:
            for h in range(31, 1, -1):
                for w in range(31, 1, -1):
                    expected[:, h, w] = expected[:, h + steps[0, number, h, w], w + steps[1, number, h, w]]
        again = noise.stored(blur.gaussian(torch.from_numpy(expected)[None], sigma))[0]
        assert torch.equal(found[number], again)


@pytest.mark.parametrize("sigma", [0.25, 0.4, 1.0])
def test_gaussian_is_scipys(sigma: float) -> None:
    images = _images(2)
    expected = ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4.0)
    torch.testing.assert_close(blur.gaussian(images, sigma), torch.from_numpy(expected), rtol=0, atol=1e-6)


def test_a_streak_by_hand() -> None:
    """Pixel by pixel: tap i at (ceil(i cos − ½), ceil(i sin − ½)), weights exp(−i²/2σ²), edges repeated."""
    images, angles = _images(3, size=12), torch.tensor([0.0, 37.0, -90.0])
    found = blur.streak(images, 6, 2.0, angles)
    taps = np.exp(-(np.arange(13.0) ** 2) / (2 * 2.0**2))
    taps /= taps.sum()
    for number, angle in enumerate(np.deg2rad(angles.double().numpy())):
        expected = np.zeros((3, 12, 12))
        for i, weight in enumerate(taps):
            x, y = math.ceil(i * math.cos(angle) - 0.5), math.ceil(i * math.sin(angle) - 0.5)
            rows, columns = np.clip(np.arange(12) + y, 0, 11), np.clip(np.arange(12) + x, 0, 11)
            expected += weight * images[number].numpy()[:, rows][:, :, columns]
        # taps below 1e-5 are left out, and both are rounded: half a step and a bit
        assert np.abs(found[number].numpy() - expected).max() < 0.51 / 255


@pytest.mark.parametrize("factor", [1.0, 1.05, 1.25, 2.25])
def test_zoom_is_scipys(factor: float) -> None:
    image = _images(1)
    crop = math.ceil(32 / factor)
    first = (32 - crop) // 2
    centre = image[0, :, first : first + crop, first : first + crop].numpy()
    zoomed = ndimage.zoom(centre, (1, factor, factor), order=1)
    trim = (zoomed.shape[1] - 32) // 2
    expected = torch.from_numpy(zoomed[:, trim : trim + 32, trim : trim + 32])
    torch.testing.assert_close(blur.zoom(image, factor)[0], expected, rtol=0, atol=1e-5)


def test_fog_keeps_the_greatest_value_and_is_brightest_where_the_map_is() -> None:
    dark = torch.full((8, 3, 32, 32), 0.5)
    for severity, (strength, _decay) in enumerate(weather.FOG, start=1):
        found = weather.fog(dark, severity, _seeded())
        # x + strength · map, times 0.5 / (0.5 + strength): from the clean value's share up to 0.5 itself
        assert found.amax((1, 2, 3)) * 255 == pytest.approx(127.0, abs=1)
        low = 0.5 * 0.5 / (0.5 + strength)
        assert found.amin((1, 2, 3)).numpy() == pytest.approx(low, abs=1.1 / 255)
    smooth, rough = (weather.fog(dark, severity, _seeded()) for severity in (2, 5))
    smooth, rough = ((one - one.mean()) / one.std() for one in (smooth, rough))
    # a slower decay leaves more of it in small patches
    assert rough.diff(dim=3).square().mean() > 1.5 * smooth.diff(dim=3).square().mean()


def test_brightness_by_hand() -> None:
    """HSV value 0.4 becomes 0.7 at severity 5; hue and saturation stay; grey stays grey; black becomes grey."""
    pixel = torch.tensor([[0.4, 0.2, 0.1], [0.0, 0.0, 0.0], [0.9, 0.9, 0.0]]).view(3, 3, 1, 1)
    found = weather.brightness(pixel, 5, _seeded()).view(3, 3) * 255
    expected = [[178.5, 89.25, 44.6], [76.5, 76.5, 76.5], [255, 255, 0]]
    assert found.round().tolist() == [[int(one) for one in row] for row in expected]


def test_contrast_by_hand() -> None:
    image = torch.tensor([0.2, 0.6]).view(1, 1, 1, 2)  # mean 0.4
    found = _stored_values(digital.contrast(image, 4, _seeded()))
    assert found == [int(255 * 0.34), int(255 * 0.46)]


def _stored_values(images: Tensor) -> list[int]:
    return [round(one) for one in (images * 255).flatten().tolist()]


def test_snow_makes_white_and_pales_the_rest() -> None:
    dark = torch.zeros(10, 3, 32, 32)
    for severity, (*_, weight) in enumerate(weather.SNOW, start=1):
        found = weather.snow(dark, severity, _seeded())
        # where no flake is: (1 − weight) · 0.5
        assert found.amin().item() * 255 == pytest.approx(int((1 - weight) * 0.5 * 255 + 1e-3), abs=1)
        # the layer and the layer turned by 180 degrees: on a flat image, the same when turned
        torch.testing.assert_close(found, found.flip(2, 3), rtol=0, atol=1.1 / 255)


def test_frost_is_a_weighted_sum() -> None:
    for severity, (own, ice) in enumerate(weather.FROST, start=1):
        black, grey = (weather.frost(torch.full((6, 3, 32, 32), one), severity, _seeded()) for one in (0.0, 0.2))
        torch.testing.assert_close(grey - black, torch.full_like(grey, 0.2 * own), rtol=0, atol=1.1 / 255)
        assert black.max() <= ice
        assert black.amin() >= 0.4 * ice


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_pixelate_is_pillows(severity: int) -> None:
    images = _images(6)
    found = (digital.pixelate(images, severity, _seeded()) * 255).round().byte()
    side = int(32 * (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1])
    assert side == (30, 28, 27, 24, 20)[severity - 1]
    for number in range(6):
        picture = Image.fromarray((images[number] * 255).round().byte().permute(1, 2, 0).numpy())
        small = picture.resize((side, side), Image.Resampling.BOX)
        expected = np.asarray(small.resize((32, 32), Image.Resampling.BOX)).transpose(2, 0, 1)
        apart = np.abs(found[number].numpy().astype(int) - expected)
        assert apart.max() <= 1  # Pillow's weights are fractions of 2^22: a half may round either way
        assert (apart > 0).mean() < 0.01


def test_jpeg_is_pillows_own_whatever_the_batch() -> None:
    images = _images(70)
    whole = digital.jpeg_compression(images, 5, _seeded())
    assert torch.equal(whole[65:66], digital.jpeg_compression(images[65:66], 5, _seeded()))
    assert (whole - images).abs().mean() > (digital.jpeg_compression(images, 1, _seeded()) - images).abs().mean()


def test_elastic_is_the_identity_without_jitter_and_displacement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digital, "ELASTIC", ((0, 0, 0), (0, 0.2, 0)))
    images = _images(3)
    for severity in (1, 2):
        torch.testing.assert_close(
            digital.elastic_transform(images, severity, _seeded()), images, rtol=0, atol=1.1 / 255
        )


def test_the_affine_map_takes_moved_points_back() -> None:
    maps = digital._affine(5, 32, 32, 2.56, _seeded())
    moves = torch.empty(5, 3, 2).uniform_(-2.56, 2.56, generator=_seeded())
    points = torch.tensor([[26.0, 26.0], [26.0, 6.0], [6.0, 6.0]])
    moved = torch.cat([points + moves, torch.ones(5, 3, 1)], 2)
    torch.testing.assert_close(moved @ maps, points.expand(5, 3, 2), rtol=0, atol=1e-3)


def test_displaced_pixels_are_scipys() -> None:
    images = _images(2)
    shift = torch.empty(2, 32, 32, 2).uniform_(-3, 3, generator=_seeded())
    rows, columns = np.meshgrid(np.arange(32.0), np.arange(32.0), indexing="ij")
    places = torch.from_numpy(np.stack([columns, rows], -1)).float() + shift
    for aligned, mode in ((False, "reflect"), (True, "mirror")):
        found = digital._sample(images, places, aligned=aligned)
        for number in range(2):
            x, y = places[number].double().numpy().transpose(2, 0, 1)
            for channel in range(3):
                expected = ndimage.map_coordinates(images[number, channel].double().numpy(), [y, x], order=1, mode=mode)
                assert np.abs(found[number, channel].numpy() - expected).max() < 1e-4
