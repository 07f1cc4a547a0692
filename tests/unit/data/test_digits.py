"""The embedded data against scikit-learn's own copy."""

from collections import Counter

import torch

from topotune.data import DATASETS, PARTS
from topotune.data.splits import load_split


def test_statistics_are_those_of_the_whole_set() -> None:
    images = torch.cat([load_split("digits", part).images for part in PARTS]).double() / 255
    (mean,), (std,) = DATASETS["digits"].mean, DATASETS["digits"].std
    assert abs(images.mean().item() - mean) < 5e-5 + 1e-4
    assert abs(images.std().item() - std) < 5e-5 + 1e-4


def test_the_test_part_has_every_digit() -> None:
    counts = Counter(load_split("digits", "test").labels.tolist())
    assert sorted(counts) == list(range(10))
    assert min(counts.values()) > 25  # about 36 each
