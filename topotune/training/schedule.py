"""The learning rate (Poli et al. 2022, section 3.1) and the topographic weight over a training run."""

import math

from topotune.config import TrialConfig
from topotune.losses.strength import weight_factor


def plan(config: TrialConfig, epoch: int, steps: int) -> list[tuple[float, float]]:
    """For each of an epoch's steps its learning rate, and its share of the full λ; ``epoch`` counts from 0."""
    found = []
    for step in range(steps):
        done = (epoch + step / steps) / config.epochs
        moment = {"step": done, "epoch": epoch / config.epochs}.get(config.schedule)
        rate = 1.0 if moment is None else warmup_cosine(moment, config.warmup)
        found.append((config.learning_rate * rate, weight_factor(config.weight_schedule, done, config.warmup)))
    return found


def warmup_cosine(progress: float, warmup: float) -> float:
    """The share of the highest rate at ``progress`` in [0, 1): linear from 0 over ``warmup``, then a cosine to 0."""
    if progress < warmup:
        return progress / warmup
    if warmup >= 1:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
