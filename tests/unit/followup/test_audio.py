"""What is done to spectrograms, by hand."""

import pytest
import torch
from torch import Generator

from topotune.followup.audio import frequency_mask, sound_noise, speed, time_mask


def _seeded() -> Generator:
    return Generator().manual_seed(0)


@pytest.mark.parametrize("ratio", [20.0, 0.0])
def test_noise_has_the_power_asked_for(ratio: float) -> None:
    windows = torch.full((5, 1, 64, 101), -30.0)
    found = sound_noise(windows, ratio, _seeded())
    power = (10 ** (found / 10)).mean((1, 2, 3)) / 10**-3.0
    torch.testing.assert_close(power, torch.full((5,), 1 + 10 ** (-ratio / 10)), rtol=1e-3, atol=0)
    assert (found >= windows - 1e-4).all()


def test_silence_stays_silent() -> None:
    windows = torch.full((2, 1, 64, 101), -100.0)
    assert sound_noise(windows, 20, _seeded()).max() < -80


@pytest.mark.parametrize(("mask", "axis", "size"), [(time_mask, 3, 101), (frequency_mask, 2, 64)])
def test_masks_hide_a_run(mask: object, axis: int, size: int) -> None:
    windows = torch.randn(8, 1, 64, 101, generator=_seeded())
    assert callable(mask)
    found = mask(windows, 0.3, _seeded())
    other = 5 - axis
    hidden = (found != windows).all(other).flatten(1)  # (N, size)
    assert hidden.sum(1).tolist() == [round(0.3 * size)] * 8
    assert (hidden.int().diff(dim=1).abs().sum(1) <= 2).all()  # one run
    means = windows.mean((1, 2, 3))
    for number in range(8):
        changed = found[number][found[number] != windows[number]]
        torch.testing.assert_close(changed, means[number].expand(len(changed)))
    assert torch.equal(mask(windows, 0.0, _seeded()), windows)


def test_twice_as_fast_is_over_in_half_the_time_and_an_octave_higher() -> None:
    windows = torch.full((1, 1, 64, 101), -80.0)
    windows[0, 0, 20, :] = 0.0
    found = speed(windows, 2.0, _seeded())[0, 0]
    assert (found[:, 51:] == -80).all()
    loudest = int(found[:, 10].argmax())
    # bands are even in mel, 2595 log10(1 + f/700), up to 8 kHz: twice the middle frequency of band 20
    step = 2595 * torch.log10(torch.tensor(1 + 8000 / 700)).item() / 65
    frequency = 700 * (10 ** (21 * step / 2595) - 1)
    expected = 2595 * torch.log10(torch.tensor(1 + 2 * frequency / 700)).item() / step - 1
    assert loudest == round(expected)


def test_the_same_speed_changes_nothing() -> None:
    windows = torch.randn(2, 1, 64, 101, generator=_seeded())
    torch.testing.assert_close(speed(windows, 1.0, _seeded()), windows, rtol=0, atol=1e-3)
