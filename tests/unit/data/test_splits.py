"""The three parts of a data set."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from topotune.data import PARTS
from topotune.data.splits import Split, forget_splits, load_split
from topotune.errors import InputError


def _as_counter(split: Split) -> Counter[tuple[int, bytes]]:
    return Counter((int(y), image.numpy().tobytes()) for image, y in zip(split.images, split.labels, strict=True))


def test_train_and_validation_share_the_training_part_and_nothing_else() -> None:
    train, validation, test = (_as_counter(load_split("digits", part)) for part in PARTS)
    raw = load_digits()
    images = np.floor(raw.images * 255 / 16 + 0.5).astype(np.uint8)  # 0 … 16 stretched to 0 … 255
    every = Counter((int(y), image.tobytes()) for image, y in zip(images, raw.target, strict=True))
    assert train + validation + test == every
    assert (train.total(), validation.total(), test.total()) == (1077, 360, 360)


def test_a_part_is_the_same_every_time_and_other_than_the_others() -> None:
    first = load_split("digits", "train")
    assert load_split("digits", "train") is first  # kept for the next trial
    forget_splits()
    torch.manual_seed(123)  # of no consequence
    again = load_split("digits", "train")
    assert again is not first
    assert torch.equal(again.images, first.images)
    assert torch.equal(again.labels, first.labels)
    assert len({load_split("digits", part).checksum for part in PARTS}) == 3
    assert again.checksum == first.checksum


def test_the_split_never_changes() -> None:
    """Every result there is was measured on this one."""
    assert {part: load_split("digits", part).checksum for part in PARTS} == {
        "train": "eef1230920b6230e5924412c21f31bff",
        "validation": "de6e72e8001b02d822abe827bb7138c4",
        "test": "e79f5bba3a8696e26b9fbcf51df8abdf",
    }


def test_loading_leaves_the_global_generator_alone() -> None:
    forget_splits()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_split("digits", "validation")
    assert torch.equal(torch.rand(3), expected)


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="unknown dataset 'cifar11'; choose from digits, mnist, cifar10"):
        load_split("cifar11", "train")
    with pytest.raises(InputError, match="unknown part of a data set 'all'; choose from train, validation, test"):
        load_split("digits", "all")


def test_own_data_that_change_are_read_anew(tmp_path: Path) -> None:
    """In one process, as in a notebook: images, mean and checksum go together."""
    found = []
    for value in (1, 200):
        images = np.full((20, 8, 8), value, np.uint8)
        labels = np.arange(20) % 2
        arrays = {
            f"{part}_{kind}": one
            for part in ("train", "test")
            for kind, one in (("images", images), ("labels", labels))
        }
        np.savez(tmp_path / "own.npz", **arrays)
        os.utime(tmp_path / "own.npz", ns=(value, value))
        found.append([load_split("own.npz", part, tmp_path) for part in ("train", "validation")])
    for value, splits in zip((1, 200), found, strict=True):
        for split in splits:
            assert split.images.unique().tolist() == [value]
            assert split.entry.mean == pytest.approx([value / 255])
    assert found[0][0].checksum != found[1][0].checksum
