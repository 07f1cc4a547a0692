"""Batches made from samples in memory: order, crops and flips are drawn for the whole global batch, then each rank
takes its share, so that one rank and several see the same samples in the same places.

B global batch, N samples of this rank, C, H, W channels and size of what a network sees; of sounds, M = H mel bands and
a window of W frames. A second has W − 1 frames' steps, so that windows of a second share their outermost frames.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from topotune.data import DatasetEntry, steps_per_epoch
from topotune.data.splits import Split


@dataclass(frozen=True)
class Batch:
    """images: (N, C, H, W) float32, normalised; labels: (N,); share: N times the number of ranks over B.

    owner: (images' N,) which label each image is of, where several windows of a clip are evaluated; None where image
    i is of label i.
    """

    images: Tensor
    labels: Tensor
    share: float = 1.0
    owner: Tensor | None = None

    def parts(self, count: int) -> "list[Batch]":
        """The samples in ``count`` parts of nearly equal size, but of two samples at least, one after the other."""
        count = max(min(count, len(self.labels) // 2), 1)
        if count == 1:
            return [self]
        halves = zip(self.images.tensor_split(count), self.labels.tensor_split(count), strict=True)
        return [Batch(images, labels, self.share * len(labels) / len(self.labels)) for images, labels in halves]


def derive_seed(seed: int, *parts: object) -> int:
    """A seed for one purpose of one run, from the run's seed and what tells the purposes apart."""
    text = "/".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def training_batches(
    split: Split, batch_size: int, seed: int, *, augment: bool, rank: int = 0, world_size: int = 1
) -> Iterator[Batch]:
    """One epoch's batches in an order, and with crops and flips, that depend on ``seed`` alone.

    Only the first has to wait for the device: whatever is drawn goes there once an epoch.
    """
    entry, device = split.entry, split.labels.device
    order, shift, place = (one.to(device) for one in _drawn(len(split), batch_size, entry.padding, seed))
    for step in range(steps_per_epoch(len(split), batch_size, world_size)):
        start, end = step * batch_size, min((step + 1) * batch_size, len(split))
        mine = slice(start + rank, end, world_size)
        own = order[mine]
        if split.clips is not None:
            images = _windows(split, split.clips[own], place[mine] * augment)
        else:
            images = split.images[own]
            if augment and (entry.padding or entry.flip):
                images = _crop_and_flip(images, shift[:, mine], (place[mine] < 0.5) & entry.flip, entry.padding)
        labels = split.labels[own]
        yield Batch(normalise(images, entry), labels, len(labels) * world_size / (end - start))


def _drawn(samples: int, batch_size: int, padding: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of an epoch, on every rank alike: the samples' order (samples,), and for each place in it where a crop begins
    (2, samples) and a number in [0, 1) (samples,), of a flip or a window."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(samples, generator=generator)
    shifts, places = [], []
    for batch in torch.split(order, batch_size):
        shifts.append(torch.randint(2 * padding + 1, (2, len(batch)), generator=generator))
        places.append(torch.rand(len(batch), generator=generator))
    return order, torch.cat(shifts, 1), torch.cat(places)


def evaluation_batches(split: Split, batch_size: int = 512, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
    """All samples once, in order, each on one rank only; of a clip, all its windows that fit side by side.

    batch_size: images a batch, about; a clip is never divided.
    """
    for batch in raw_batches(split, batch_size, rank, world_size):
        yield replace(batch, images=normalise(batch.images, split.entry))


def raw_batches(split: Split, batch_size: int = 512, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
    """``evaluation_batches`` before normalisation: pixels as uint8, or decibels."""
    if split.clips is not None:
        batch_size = max(batch_size // int(_windows_of(split.clips, split.entry).max()), 1)
    for start in range(rank * batch_size, len(split), world_size * batch_size):
        chosen = slice(start, start + batch_size)
        labels = split.labels[chosen]
        if split.clips is None:
            yield Batch(split.images[chosen], labels)
            continue
        clips = split.clips[chosen]
        count = _windows_of(clips, split.entry)
        owner = torch.arange(len(clips), device=labels.device).repeat_interleave(count)
        number = torch.arange(len(owner), device=labels.device) - (count.cumsum(0) - count)[owner]
        rows = clips[owner, 0] + number * (split.entry.shape[2] - 1)
        yield Batch(_gather(split, rows), labels, owner=owner)


def _windows_of(clips: Tensor, entry: DatasetEntry) -> Tensor:
    """How many windows fit into each clip (N, 2), side by side."""
    width = entry.shape[2]
    return 1 + (clips[:, 1] - width) // (width - 1)


def _windows(split: Split, clips: Tensor, place: Tensor) -> Tensor:
    """A window of each clip, from its first frame (place 0) to its last (towards 1): (N, 1, M, W)."""
    room = clips[:, 1] - split.entry.shape[2] + 1
    return _gather(split, clips[:, 0] + (place * room).long())


def _gather(split: Split, rows: Tensor) -> Tensor:
    """Windows that begin at these rows of all frames: (N,) -> (N, 1, M, W)."""
    frames = rows.unsqueeze(1) + torch.arange(split.entry.shape[2], device=rows.device)
    return split.images[frames].transpose(1, 2).unsqueeze(1)


def normalise(images: Tensor, entry: DatasetEntry) -> Tensor:
    """Pixels (N, C, H, W), uint8, or decibels, to float32, each channel with the data set's mean and deviation."""
    mean, std = (_per_channel(values, images.device) for values in (entry.mean, entry.std))
    return (images.float() / (255 if images.dtype == torch.uint8 else 1) - mean) / std


@lru_cache(maxsize=16)
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """(1, C, 1, 1), kept, since a GPU's work would have to wait for each copy."""
    return torch.tensor(values, device=device).view(1, -1, 1, 1)


def _crop_and_flip(images: Tensor, shift: Tensor, mirror: Tensor, padding: int) -> Tensor:
    """Each image cut out of its zero-padded self at its own place, some of them mirrored.

    images: (N, C, H, W) uint8; shift: (2, N) in 0 … 2·padding, rows and columns; mirror: (N,) bool.
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4)
    columns = torch.arange(width, device=images.device).expand(len(images), width)
    columns = torch.where(mirror.unsqueeze(1), width - 1 - columns, columns) + shift[1].unsqueeze(1)  # (N, W)
    rows = torch.arange(height, device=images.device) + shift[0].unsqueeze(1)  # (N, H)
    sample = torch.arange(len(images), device=images.device).view(-1, 1, 1)
    # two index tensors around the channel slice put the channel last: (N, H, W, C)
    return padded[sample, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)
