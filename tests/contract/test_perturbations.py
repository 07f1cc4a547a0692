"""Every perturbation of PERTURBATIONS: within its range, the same from the same seed, and stronger at higher levels."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn

from topotune.errors import InputError
from topotune.followup.perturbations import CORRUPTIONS, PERTURBATIONS, SOUNDS, check_level, chosen

INPUT = [name for name, one in PERTURBATIONS.items() if one.acts_on != "weights"]
WEIGHTS = [name for name, one in PERTURBATIONS.items() if one.acts_on == "weights"]
# severities that are other numbers and not more of the same, levels on both sides of doing nothing, and boxes that fall
# well or badly onto a drawn edge
UNEVEN = {"glass_blur", "frost", "elastic_transform", "speed", "motion_blur", "pixelate"}


def _pictures(count: int = 40, channels: int = 3, size: int = 32) -> Tensor:
    """Smooth images with an edge and a little texture, in 255ths."""
    generator = Generator().manual_seed(1)
    coarse = torch.rand(count, channels, 6, 6, generator=generator)
    images = nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    images[:, :, size // 4 : size // 2, size // 3 : size // 2] = 0.9
    images += 0.05 * torch.randn(images.shape, generator=generator)
    return (images.clamp(0, 1) * 255).round() / 255


def _sounds(count: int = 6) -> Tensor:
    generator = Generator().manual_seed(2)
    coarse = torch.rand(count, 1, 9, 12, generator=generator)
    return nn.functional.interpolate(coarse, (64, 101), mode="bilinear") * 60 - 80


def _apply(name: str, level: float, seed: int = 3, images: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What is given, and what comes of it."""
    entry, generator = PERTURBATIONS[name], Generator().manual_seed(seed)
    given = images if images is not None else _sounds() if entry.suits == (SOUNDS,) else _pictures()
    function: Callable[..., Tensor] = entry.resolve()
    if entry.acts_on == "gradients":
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(given[0].numel(), 10))
        return given, function(network, given, torch.arange(len(given)) % 10, level, generator)
    return given, function(given.clone(), level, generator)


@pytest.mark.parametrize("name", INPUT)
def test_shape_range_and_seed(name: str) -> None:
    entry = PERTURBATIONS[name]
    for level in (entry.levels[0], entry.levels[-1]):
        given, found = _apply(name, level)
        assert found.shape == given.shape
        assert found.dtype == torch.float32
        assert found.isfinite().all()
        assert not torch.equal(found, given)
        assert torch.equal(found, _apply(name, level)[1])
        if entry.suits != (SOUNDS,):
            assert found.min() >= 0
            assert found.max() <= 1


@pytest.mark.parametrize("name", [name for name in INPUT if name not in UNEVEN])
def test_a_higher_level_is_farther_from_the_clean_images(name: str) -> None:
    distances = []
    for level in PERTURBATIONS[name].levels:
        given, found = _apply(name, level)
        distances.append((found - given).square().mean().item())
    assert distances == sorted(distances)
    assert distances[-1] > distances[0]


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (1, 8), (3, 20)])
def test_corruptions_of_other_images(name: str, channels: int, size: int) -> None:
    images = _pictures(10, channels, size)
    for severity in PERTURBATIONS[name].levels:
        _, found = _apply(name, severity, images=images)
        assert found.shape == images.shape
        assert found.min() >= 0
        assert found.max() <= 1
        # whole 255ths, as they are published
        torch.testing.assert_close(found * 255, (found * 255).round(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", WEIGHTS)
def test_changes_of_weights(name: str) -> None:
    weights = torch.randn(5, 4, 3, 3, generator=Generator().manual_seed(4))
    weights[2] = 0
    entry = PERTURBATIONS[name]
    changed = [entry.resolve()(weights, level, Generator().manual_seed(5)) for level in entry.levels]
    distances = [(one - weights).square().mean().item() for one in changed]
    assert distances == sorted(distances)
    for one in changed:
        assert one.shape == weights.shape
        assert one.isfinite().all()
        assert (one[2] == 0).all()


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_levels_are_within_bounds(name: str) -> None:
    entry = PERTURBATIONS[name]
    assert all(check_level(name, level) is entry for level in entry.levels)
    assert len(set(entry.levels)) == len(entry.levels)
    for level in (entry.bounds[0] - 1, entry.bounds[1] + 1, float("nan")):
        with pytest.raises(InputError, match=f"of {name!r} .* must be a .*number from"):
            check_level(name, level)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severities_are_whole(name: str) -> None:
    with pytest.raises(InputError, match=r"level 2\.5 of .* must be a whole number from 1 to 5"):
        check_level(name, 2.5)


def test_all_is_what_suits_the_data() -> None:
    images, sounds = chosen(["all"], "images", "digits"), chosen(["all"], "sounds", "birddcase")
    assert set(images) | set(sounds) == set(PERTURBATIONS)
    assert set(images) & set(sounds) == set(WEIGHTS)
    assert len(CORRUPTIONS) == 15
    assert set(CORRUPTIONS) < set(images)
    assert set(chosen([], "images", "digits")) < set(images)
    assert set(chosen([], "sounds", "birddcase")) < set(sounds)
    with pytest.raises(InputError, match="'fog' is for images, and dataset 'birddcase' holds sounds; choose from"):
        chosen(["fog"], "sounds", "birddcase")
    with pytest.raises(InputError, match="unknown perturbation 'fgo'; choose from all, weight"):
        chosen(["fgo"], "images", "digits")
    with pytest.raises(InputError, match="'fog' stands there twice"):
        chosen(["fog", "fog"], "images", "digits")
