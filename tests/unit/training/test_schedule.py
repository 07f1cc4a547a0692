"""The learning rate (Poli, Dupoux & Riad 2022, section 3.1) and the plan of an epoch, worked by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topotune.config import TrialConfig
from topotune.losses.strength import weight_factor
from topotune.training.schedule import plan, warmup_cosine


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


@pytest.mark.parametrize(
    ("schedule", "rates"), [("step", [0.5, 0.75]), ("epoch", [0.5, 0.5]), ("constant", [1.0, 1.0])]
)
def test_a_plan_by_hand(schedule: str, rates: list[float]) -> None:
    """The second epoch of four, the warm-up's last."""
    config = TrialConfig(
        epochs=4, warmup=0.5, learning_rate=0.1, schedule=schedule, topography="grid2d", weight=1.0,
        weight_schedule="linear",
    )  # fmt: skip
    assert plan(config, 1, 2) == [
        (pytest.approx(0.1 * rate), pytest.approx(weight_factor("linear", done, 0.5)))
        for rate, done in zip(rates, (0.25, 0.375), strict=True)
    ]
