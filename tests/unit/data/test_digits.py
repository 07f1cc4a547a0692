"""The embedded data against scikit-learn's own copy."""

from collections import Counter

import numpy as np
import torch
from sklearn.datasets import load_digits

from topotune.data import DATASETS
from topotune.data.digits import load


def test_both_parts_together_are_all_of_it() -> None:
    raw = load_digits()
    # 0 … 16 stretched to 0 … 255, half up: 255 / 16 · g
    expected = Counter(
        (int(label), tuple(int(np.floor(255 * g / 16 + 0.5)) for g in image.ravel()))
        for image, label in zip(raw.images, raw.target, strict=True)
    )
    found: Counter[tuple[int, tuple[int, ...]]] = Counter()
    for train in (True, False):
        images, labels = load(None, train, False)
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        found.update((int(y), tuple(image.flatten().tolist())) for image, y in zip(images, labels, strict=True))
    assert found == expected


def test_statistics_are_those_of_the_whole_set() -> None:
    images = torch.cat([load(None, train, False)[0] for train in (True, False)]).double() / 255
    (mean,), (std,) = DATASETS["digits"].mean, DATASETS["digits"].std
    assert abs(images.mean().item() - mean) < 5e-5 + 1e-4
    assert abs(images.std().item() - std) < 5e-5 + 1e-4


def test_the_test_part_has_every_digit() -> None:
    counts = Counter(load(None, False, False)[1].tolist())
    assert sorted(counts) == list(range(10))
    assert min(counts.values()) > 25  # about 36 each
