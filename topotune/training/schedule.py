"""The learning rate over a training run (Poli et al. 2022, section 3.1)."""

import math


def warmup_cosine(progress: float, warmup: float) -> float:
    """The share of the highest rate at ``progress`` in [0, 1): linear from 0 over ``warmup``, then a cosine to 0."""
    if progress < warmup:
        return progress / warmup
    if warmup >= 1:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
