"""Batches made from images in memory: order, crops and flips are drawn for the whole global batch, then each rank
takes its share, so that one rank and several see the same samples in the same places.

B global batch, N samples of this rank, C, H, W channels and size of an image.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from topotune.data import DatasetEntry, steps_per_epoch
from topotune.data.splits import Split


@dataclass(frozen=True)
class Batch:
    """images: (N, C, H, W) float32, normalised; labels: (N,); share: N times the number of ranks over B."""

    images: Tensor
    labels: Tensor
    share: float


def derive_seed(seed: int, *parts: object) -> int:
    """A seed for one purpose of one run, from the run's seed and what tells the purposes apart."""
    text = "/".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def training_batches(
    split: Split, entry: DatasetEntry, batch_size: int, seed: int, *, augment: bool, rank: int = 0, world_size: int = 1
) -> Iterator[Batch]:
    """One epoch's batches in an order, and with crops and flips, that depend on ``seed`` alone."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(split), generator=generator)
    for step in range(steps_per_epoch(len(split), batch_size, world_size)):
        index = order[step * batch_size : (step + 1) * batch_size]
        # drawn for all of the batch, on every rank alike
        shift = torch.randint(2 * entry.padding + 1, (2, len(index)), generator=generator)
        mirror = torch.rand(len(index), generator=generator) < 0.5
        mine = slice(rank, None, world_size)
        images = split.images[index[mine].to(split.images.device)]
        if augment and (entry.padding or entry.flip):
            images = _crop_and_flip(images, shift[:, mine], mirror[mine] & entry.flip, entry.padding)
        labels = split.labels[index[mine].to(split.labels.device)]
        yield Batch(normalise(images, entry), labels, len(labels) * world_size / len(index))


def evaluation_batches(
    split: Split, entry: DatasetEntry, batch_size: int = 512, rank: int = 0, world_size: int = 1
) -> Iterator[Batch]:
    """All samples once, in order, each on one rank only."""
    for start in range(rank * batch_size, len(split), world_size * batch_size):
        window = slice(start, start + batch_size)
        yield Batch(normalise(split.images[window], entry), split.labels[window], 1.0)


def normalise(images: Tensor, entry: DatasetEntry) -> Tensor:
    """uint8 pixels (N, C, H, W) to float32, each channel with the data set's mean and standard deviation."""
    mean = torch.tensor(entry.mean, device=images.device).view(1, -1, 1, 1)
    std = torch.tensor(entry.std, device=images.device).view(1, -1, 1, 1)
    return (images.float() / 255 - mean) / std


def _crop_and_flip(images: Tensor, shift: Tensor, mirror: Tensor, padding: int) -> Tensor:
    """Each image cut out of its zero-padded self at its own place, some of them mirrored.

    images: (N, C, H, W) uint8; shift: (2, N) in 0 … 2·padding, rows and columns; mirror: (N,) bool.
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4)
    shift, mirror = shift.to(images.device), mirror.to(images.device)
    columns = torch.arange(width, device=images.device).expand(len(images), width)
    columns = torch.where(mirror.unsqueeze(1), width - 1 - columns, columns) + shift[1].unsqueeze(1)  # (N, W)
    rows = torch.arange(height, device=images.device) + shift[0].unsqueeze(1)  # (N, H)
    sample = torch.arange(len(images), device=images.device).view(-1, 1, 1)
    # two index tensors around the channel slice put the channel last: (N, H, W, C)
    return padded[sample, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)
