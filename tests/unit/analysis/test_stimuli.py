"""Gratings and spots: as many as there should be, and what they look like."""

import math

import pytest
import torch

from topotune.analysis.stimuli import eccentricities, frequencies, gratings, orientations, spots


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (8, 8), (20, 30)])
def test_gratings(size: tuple[int, int]) -> None:
    drawn = list(gratings(*size))
    assert len(drawn) == 16
    for one in drawn:
        assert one.shape == (40, *size)
        assert one.dtype == torch.float32
        assert 0 <= one.min() < 0.05
        assert 0.95 < one.max() <= 1


def test_a_gratings_orientation_is_that_of_its_stripes() -> None:
    angles = orientations()
    assert angles[8] == pytest.approx(math.pi / 2)
    drawn = list(gratings(28, 28))
    flat, upright, slanted = (drawn[index][-8] for index in (0, 8, 4))
    assert flat.std(1).max() < 1e-5  # each row is of one colour
    assert upright.std(0).max() < 1e-5
    assert flat.std(0).min() > 0.3
    # 45 degrees, counter-clockwise: up one row, right one column, and the colour is the same
    torch.testing.assert_close(slanted[1:, :-1], slanted[:-1, 1:], rtol=0, atol=1e-5)


def test_frequencies_and_phases() -> None:
    """From one cycle to a quarter of the pixels; opposite phases are each other's negative."""
    found = frequencies(28, 28)
    assert found[0] == 1
    assert found[-1] == pytest.approx(7)
    assert (found[1:] / found[:-1]).std() < 1e-9
    vertical = list(gratings(28, 28))[8].view(5, 8, 28, 28)
    spectrum = torch.fft.rfft(vertical[:, 0, 0] - vertical[:, 0, 0].mean(1, keepdim=True)).abs()
    assert spectrum[0].argmax() == 1
    assert spectrum[-1].argmax() == 7
    torch.testing.assert_close(vertical[:, :4] + vertical[:, 4:], torch.ones(5, 4, 28, 28), rtol=0, atol=1e-5)


def test_spots() -> None:
    """The first is in the middle; the others' middles are as far from it as is said, in eight directions."""
    drawn = list(spots(32, 32))
    assert len(drawn) == 8
    y, x = torch.meshgrid(torch.arange(32.0) - 15.5, torch.arange(32.0) - 15.5, indexing="ij")
    for distance, one in zip(eccentricities(), drawn, strict=True):
        assert one.shape == (8, 32, 32)
        mass = one.sum((1, 2))
        right, down = ((one * axis).sum((1, 2)) / mass for axis in (x, y))
        radius = torch.hypot(right, down)
        assert radius.max() <= float(distance) * 16 + 0.01
        assert radius.min() >= float(distance) * 16 - 1  # the border cuts off a little of the farthest
    assert right[0] > 12
    assert abs(down[0]) < 0.01
