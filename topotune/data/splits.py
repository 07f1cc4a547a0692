"""The three parts of a data set, the same in every run: the test part is never read unless asked for by name."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from pkgutil import resolve_name

import torch
from torch import Tensor

from topotune.data import DATASETS
from topotune.errors import InputError, unknown

PARTS = ("train", "validation", "test")
_SPLIT_SEED = 0  # never changes: every result there is was measured on this split


@dataclass(frozen=True)
class Split:
    """One part of a data set. images: (N, C, H, W) uint8; labels: (N,) int64; checksum: SHA-256 of the two."""

    images: Tensor
    labels: Tensor
    checksum: str

    def __len__(self) -> int:
        return len(self.labels)


@lru_cache(maxsize=4)
def load_split(name: str, part: str, root: Path | None = None, download: bool = False) -> Split:
    """One part (train, validation, test) of the data set ``name``, kept in memory for the next trial of this process.

    Raises:
        InputError: an unknown name or part, or files that are missing or damaged.
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    if part not in PARTS:
        raise unknown("part of a data set", part, PARTS)
    entry = DATASETS[name]
    images, labels = resolve_name(entry.load)(root, part != "test", download)
    wanted = entry.test if part == "test" else entry.train + entry.validation
    if len(labels) != wanted:
        raise InputError(f"dataset {name!r} has {len(labels)} images where {wanted} were expected")
    if part != "test":
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SPLIT_SEED))
        chosen = (order[: entry.train] if part == "train" else order[entry.train :]).sort().values
        images, labels = images[chosen], labels[chosen]
    digest = hashlib.sha256(images.numpy()).hexdigest()[:16] + hashlib.sha256(labels.numpy()).hexdigest()[:16]
    return Split(images, labels, digest)
