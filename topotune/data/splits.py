"""The three parts of a data set, the same in every run: the test part is never read unless asked for by name."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from topotune.data import PARTS, DatasetEntry, dataset_entry
from topotune.data.cache import open_array, prepared, read_meta
from topotune.errors import unknown


@dataclass(frozen=True)
class Split:
    """One part of a data set, of N samples.

    images: (N, C, H, W) uint8. Of sounds: (F, M) float16, the frames of all clips one after the other, in dB.
    labels: (N,) int64.
    checksum: SHA-256 of the two.
    entry: of the data set, with the mean and deviation that count.
    clips: of sounds, (N, 2) int64: each one's first frame and how many it has; None for images.
    notes: how many samples were mended or left out when the part was prepared, by the reason.
    """

    images: Tensor
    labels: Tensor
    checksum: str
    entry: DatasetEntry
    clips: Tensor | None = None
    notes: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        """The same, on a device."""
        clips = None if self.clips is None else self.clips.to(device)
        return replace(self, images=self.images.to(device), labels=self.labels.to(device), clips=clips)

    def take(self, index: Tensor) -> "Split":
        """Some of the samples."""
        index = index.to(self.labels.device)
        if self.clips is not None:
            return replace(self, labels=self.labels[index], clips=self.clips[index])
        return replace(self, images=self.images[index], labels=self.labels[index])


def load_split(name: str, part: str, root: Path | None = None, download: bool = False) -> Split:
    """One part (train, validation, test) of the data set ``name``, kept open for the next trial of this process.

    The first process of a node prepares it (``cache``); all others map the same memory.

    Raises:
        InputError: an unknown name or part, or files that are missing or damaged.
    """
    entry = dataset_entry(name, root)
    if part not in PARTS:
        raise unknown("part of a data set", part, PARTS)
    if download:
        entry.make_reader().fetch(root)
    # a user's own data may change while this process lives
    found = prepared_folder if entry.name else _prepared_once
    folder = found(name, part, root)
    return _open(entry, folder, folder if entry.mean or part == "train" else found(name, "train", root))


def forget_splits() -> None:
    """Let go of what is kept open, so that the next trial looks at the files again."""
    _prepared_once.cache_clear()
    _open.cache_clear()


def prepared_folder(name: str, part: str, root: Path | None) -> Path:
    """Where the prepared arrays of one part are; they are made now if no process has made them before.

    Raises:
        InputError: an unknown name, or files that are missing or damaged.
    """
    reader = dataset_entry(name, root).make_reader()
    files = reader.files(root, part)
    return prepared(f"{name.removesuffix('/')}-{part}", files, lambda out: reader.prepare(root, part, out))


_prepared_once = lru_cache(maxsize=16)(prepared_folder)


@lru_cache(maxsize=4)
def _open(entry: DatasetEntry, folder: Path, training: Path) -> Split:
    """The prepared arrays in ``folder``; mean and deviation, if the entry has none, are those of ``training``."""
    meta = read_meta(folder)
    if not entry.mean:
        said = read_meta(training)
        entry = replace(entry, mean=tuple(said["mean"]), std=tuple(said["std"]))
    clips = open_array(folder, "clips") if (folder / "clips.npy").exists() else None
    images, labels = open_array(folder, "images"), open_array(folder, "labels")
    if entry.name:  # a folder's images are looked at only now
        entry = replace(entry, shape=(images.shape[1], images.shape[2], images.shape[3]))
    return Split(images, labels, meta["checksum"], entry, clips, meta.get("notes", {}))
