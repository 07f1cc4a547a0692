"""A user's own ``NAME.npz``: arrays ``train_images``, ``train_labels``, the same of test and, if there is one, of
validation (``val`` will do).

Images: (N, H, W), (N, H, W, C), or (N, C, H, W) where C is 1 or 3 and the last axis is not; uint8.
Labels: (N,) or (N, 1), integers 0 … K−1. Nothing that a pickle would be needed for is opened.
"""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from topotune.data import DatasetEntry
from topotune.data.own import SPELLINGS, Pixels, drawn_count, mean_and_std, own_entry, read_options
from topotune.errors import InputError

_MOST_CHANNELS = 4

Shape = tuple[int, ...]
T = TypeVar("T")


class Npz:
    """See ``Reader``; an object is made with the data set's name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def files(self, root: Path | None, part: str) -> list[Path]:
        """The one file."""
        from topotune.data.sources import data_folder

        path = data_folder(self.name, root) / self.name
        if not path.is_file():
            raise InputError(f"{path} is missing: dataset {self.name!r} is a file of NumPy arrays there")
        return [path]

    def fetch(self, root: Path | None) -> None:
        """Nothing to do."""

    def describe(self, root: Path | None) -> DatasetEntry:
        """From the headers of the images and from the labels, which are checked."""
        (path,) = self.files(root, "train")
        content = _Content(path)
        shapes = {part: content.image_shape(part) for part in content.parts}
        for part, shape in shapes.items():
            if shape[1:] != shapes["train"][1:]:
                raise InputError(
                    f"{path}: {content.key(part, 'images')} are (C, H, W) = {shape[1:]} and "
                    f"{content.key('train', 'images')} {shapes['train'][1:]}; they must be alike"
                )
        classes = content.check_labels({part: shape[0] for part, shape in shapes.items()})
        _count, channels, height, width = shapes["train"]
        counts = {part: shape[0] for part, shape in shapes.items()}
        return own_entry(self.name, read_options(self.name, root), classes, (channels, height, width), counts, path)

    def prepare(self, root: Path | None, part: str, out: Path) -> dict[str, Any]:
        """Images (N, C, H, W)."""
        from topotune.data.cache import save_array  # torch
        from topotune.data.sources import drawn

        (path,) = self.files(root, part)
        content = _Content(path)
        held = part if part in content.parts else "train"
        images, labels = content.images(held), content.labels(held)
        if "validation" not in content.parts and part != "test":
            chosen = drawn(len(labels), part, len(labels) - drawn_count(len(labels)))
            images, labels = images[chosen], labels[chosen]
        save_array(out, "images", images)
        save_array(out, "labels", labels)
        return mean_and_std(images) if part == "train" else {}


class _Content:
    """What is in one file, by part.

    Raises:
        InputError: from every method, where the file is damaged or an array is missing or wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys = self._guarded(_array_names)
        self.parts = [part for part in SPELLINGS if part != "validation" or self._spelling(part)]

    def key(self, part: str, kind: str) -> str:
        """The name of an array of images or labels."""
        key = f"{self._spelling(part) or part}_{kind}"
        if key not in self._keys:
            there = ", ".join(sorted(self._keys)) or "nothing"
            raise InputError(f"{self.path}: the array {key} is missing; it holds {there}")
        return key

    def image_shape(self, part: str) -> tuple[int, int, int, int]:
        """(N, C, H, W) of a part's images, from the header alone."""
        key = self.key(part, "images")
        shape, dtype = self._guarded(lambda path: _header(path, key))
        if dtype != np.uint8:
            raise InputError(f"{self.path}: {key} are {dtype}; they must be uint8, 0 to 255")
        count, channels, height, width = (shape[axis] if axis is not None else 1 for axis in self._axes(key, shape))
        if 0 in (count, channels, height, width):
            raise InputError(f"{self.path}: {key} of shape {shape} hold no image")
        return count, channels, height, width

    def images(self, part: str) -> Pixels:
        """(N, C, H, W) uint8."""
        self.image_shape(part)
        values = self._array(self.key(part, "images"))
        if values.ndim == 3:
            return values[:, None]
        order = [axis for axis in self._axes(self.key(part, "images"), values.shape) if axis is not None]
        return values.transpose(order)

    def labels(self, part: str) -> np.ndarray[Any, Any]:
        """(N,) int64."""
        key = self.key(part, "labels")
        values = self._array(key)
        if values.dtype.kind not in "iu" or values.ndim not in (1, 2) or values.shape[1:] not in ((), (1,)):
            raise InputError(
                f"{self.path}: {key} are {values.dtype} of shape {values.shape}; they must be integers of shape (N,)"
            )
        return values.reshape(-1).astype(np.int64)

    def check_labels(self, counts: dict[str, int]) -> int:
        """How many classes there are; ``counts`` are of images."""
        classes = 0
        for part in self.parts:  # training first
            labels, key = self.labels(part), self.key(part, "labels")
            if len(labels) != counts[part]:
                raise InputError(f"{self.path}: {len(labels)} {key} for {counts[part]} {self.key(part, 'images')}")
            least, most = int(labels.min()), int(labels.max())
            if part == "train":
                classes = len(np.unique(labels))
                if least != 0 or most != classes - 1:
                    raise InputError(
                        f"{self.path}: {key} are {classes} numbers from {least} to {most}; they must be 0 to K-1 for K "
                        "classes, each with at least one sample"
                    )
            if least < 0 or most >= classes:
                raise InputError(f"{self.path}: {key} are from {least} to {most}; training has 0 to {classes - 1}")
        return classes

    def _spelling(self, part: str) -> str:
        """How the file calls a part; empty where it has nothing of it."""
        found = [word for word in SPELLINGS[part] if {f"{word}_images", f"{word}_labels"} & self._keys]
        if len(found) > 1:
            raise InputError(f"{self.path}: holds {found[0]}_… and {found[1]}_… arrays; keep one of the two")
        return found[0] if found else ""

    def _axes(self, key: str, shape: Shape) -> tuple[int, int | None, int, int]:
        """The axes that are N, C, H and W; C is None where there is none."""
        if len(shape) == 3:
            return 0, None, 1, 2
        if len(shape) == 4:
            if shape[3] not in (1, 3) and shape[1] in (1, 3):
                return 0, 1, 2, 3
            if shape[3] <= _MOST_CHANNELS:
                return 0, 3, 1, 2
        raise InputError(
            f"{self.path}: {key} have shape {shape}; it must be (N, H, W), (N, H, W, C) with at most {_MOST_CHANNELS} "
            "channels, or (N, C, H, W) with 1 or 3"
        )

    def _array(self, key: str) -> np.ndarray[Any, Any]:
        def read(path: Path) -> np.ndarray[Any, Any]:
            with np.load(path, allow_pickle=False) as file:
                values: np.ndarray[Any, Any] = file[key]
                return values

        return self._guarded(read)

    def _guarded(self, read: Callable[[Path], T]) -> T:
        try:
            return read(self.path)
        except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(
                f"{self.path} is damaged or no file of np.savez with numbers only ({' '.join(str(error).split())})"
            ) from None


def _array_names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def _header(path: Path, key: str) -> tuple[Shape, np.dtype[Any]]:
    """Shape and type of an array, without reading it."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _fortran, dtype = read(file)
    return shape, dtype
