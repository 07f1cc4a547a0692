"""The learning rate, worked by hand (Poli, Dupoux & Riad 2022, section 3.1)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topotune.training.schedule import warmup_cosine


@pytest.mark.parametrize(
    ("progress", "warmup", "share"),
    [
        (0.0, 0.3, 0.0),
        (0.15, 0.3, 0.5),
        (0.3, 0.3, 1.0),
        (0.65, 0.3, 0.5),  # half-way between 0.3 and 1
        (0.475, 0.3, 0.5 + math.sqrt(0.5) / 2),  # a quarter: (1 + cos 45°) / 2
        (0.825, 0.3, 0.5 - math.sqrt(0.5) / 2),
        (1.0, 0.3, 0.0),
        (0.0, 0.0, 1.0),
        (0.5, 0.0, 0.5),
        (1 / 3, 0.0, 0.75),  # (1 + cos 60°) / 2
        (0.25, 1.0, 0.25),
        (0.999, 1.0, 0.999),
        (1.0, 1.0, 1.0),
    ],
)
def test_by_hand(progress: float, warmup: float, share: float) -> None:
    assert warmup_cosine(progress, warmup) == pytest.approx(share, abs=1e-12)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_it_rises_then_falls(first: float, second: float, warmup: float) -> None:
    early, late = sorted((first, second))
    one, other = warmup_cosine(early, warmup), warmup_cosine(late, warmup)
    assert 0 <= one <= 1
    assert 0 <= other <= 1
    if late < warmup:
        assert one <= other
    if early >= warmup and warmup < 1:
        assert one >= other
