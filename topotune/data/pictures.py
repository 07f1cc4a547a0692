"""A user's own ``NAME/``: images in ``train/CLASS/``, ``test/CLASS/`` and, if there is one, ``validation/CLASS/``
(``val`` will do).

Classes are numbered as the sorted folders of the training part. All images become grey where all those for training
are, else RGB.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from topotune.data import DatasetEntry
from topotune.data.own import SPELLINGS, drawn_count, mean_and_std, own_entry, read_options, side_file
from topotune.errors import InputError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm")


Labelled = list[tuple[Path, int]]


class ImageFolder:
    """See ``Reader``; an object is made with the data set's name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def files(self, root: Path | None, part: str) -> list[Path]:
        """The part's images and the training part's; its folders, which are the classes; and the side file."""
        tree, side = self._tree(root), side_file(self.name, root)
        folders = [tree.folders["train"] / name for name in tree.classes]
        # whether validation is drawn, and whether all is grey, depends on the training part
        held = {"train", part} & set(tree.folders)
        images = [path for one in sorted(held) for path, _label in tree.samples(one)]
        return [*images, *folders, *([side] if side.is_file() else [])]

    def fetch(self, root: Path | None) -> None:
        """Nothing to do."""

    def describe(self, root: Path | None) -> DatasetEntry:
        """From the files' names and one image."""
        tree, options = self._tree(root), read_options(self.name, root)
        counts = {part: len(tree.samples(part)) for part in tree.folders}
        path = tree.samples("train")[0][0]
        with _opened(path) as image:
            width, height = (options.size, options.size) if options.size else image.size
            channels = 1 if image.mode == "L" else 3
        return own_entry(self.name, options, len(tree.classes), (channels, height, width), counts, tree.base)

    def prepare(self, root: Path | None, part: str, out: Path) -> dict[str, Any]:
        """Images (N, C, H, W), C = 1 or 3, written one by one: all of them may not fit into memory."""
        from topotune.data.cache import save_array  # torch
        from topotune.data.sources import drawn

        tree, side = self._tree(root), side_file(self.name, root)
        size = read_options(self.name, root).size
        training = [path for path, _label in tree.samples("train")]
        mode = "L" if all(_is_grey(path) for path in training) else "RGB"
        first = _pixels(training[0], mode, size)
        samples = tree.samples(part if part in tree.folders else "train")
        if "validation" not in tree.folders and part != "test":
            samples = [samples[index] for index in drawn(len(samples), part, len(samples) - drawn_count(len(samples)))]
        shape = (len(samples), *first.shape)
        images = np.lib.format.open_memmap(out / "images.npy", "w+", np.uint8, shape)
        with (out / "images.npy").open("r+b") as file:  # where the disk is full a mapped write would end the process
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        for index, (path, _label) in enumerate(samples):
            pixels = _pixels(path, mode, size)
            if pixels.shape != first.shape:
                raise InputError(
                    f"{training[0]} has {_size(first)} pixels and {path} {_size(pixels)}; all must have one size, or "
                    f"{side} a line like size = {min(first.shape[1:])}, to which they are resized and cropped"
                )
            images[index] = pixels
        images.flush()
        save_array(out, "labels", np.array([label for _path, label in samples], np.int64))
        return mean_and_std(images) if part == "train" else {}

    def _tree(self, root: Path | None) -> "_Tree":
        from topotune.data.sources import data_folder

        return _Tree(data_folder(self.name, root) / self.name.rstrip("/"))


class _Tree:
    """The folders and files of one data set; every method raises InputError where they are not as they should be."""

    def __init__(self, base: Path) -> None:
        self.base = base
        if not base.is_dir():
            raise InputError(f"{base} is missing: data of your own in a folder are {base}/train/CLASS/*.png and so on")
        self.folders = {part: path for part in SPELLINGS if (path := self._folder(part))}
        for part in ("train", "test"):
            if part not in self.folders:
                raise InputError(f"{base / part} is missing: images for it are looked for in {base / part}/CLASS/")
        self.classes = [path.name for path in _listed(self.folders["train"]) if path.is_dir()]
        if not self.classes:
            raise InputError(f"{self.folders['train']} holds no folders: each class's images must be in one of its own")

    def samples(self, part: str) -> Labelled:
        """A part's images with their labels, in order."""
        found: Labelled = []
        for folder in _listed(self.folders[part]):
            if not folder.is_dir():
                continue
            if folder.name not in self.classes:
                raise InputError(f"{folder}: the training part has no class {folder.name!r}")
            images = [path for path in _listed(folder) if path.suffix.lower() in ENDINGS]
            if not images:
                raise InputError(f"{folder} holds no image: none of its files ends in {', '.join(ENDINGS)}")
            label = self.classes.index(folder.name)
            found += [(path, label) for path in images]
        if not found:
            raise InputError(f"{self.folders[part]} holds no folders: each class's images must be in one of its own")
        return found

    def _folder(self, part: str) -> Path | None:
        found = [self.base / word for word in SPELLINGS[part] if (self.base / word).is_dir()]
        if len(found) > 1:
            raise InputError(f"{found[0]} and {found[1]} are both there; keep one of the two")
        return found[0] if found else None


def _listed(folder: Path) -> Sequence[Path]:
    """What a folder holds, sorted; without hidden files, which desktops leave."""
    try:
        return sorted(folder / name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error})") from None


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image, of which Pillow reads the pixels when they are asked for.

    Raises:
        InputError: it cannot be read, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{path} has pixels of mode {image.mode}; images of 8 bits a channel are read")
            yield image
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image ({error})") from None


def _is_grey(path: Path) -> bool:
    with _opened(path) as image:
        return image.mode == "L"


def _pixels(path: Path, mode: str, size: int) -> np.ndarray[Any, Any]:
    """(C, H, W) uint8."""
    with _opened(path) as image:
        if image.mode == "P" and "transparency" in image.info:
            plain = image.convert("RGBA").convert(mode)
        else:
            plain = image.convert(mode)
    if size:  # the shorter side first, then the middle
        plain = ImageOps.fit(plain, (size, size), Image.Resampling.BILINEAR)
    values = np.asarray(plain)
    return values[None] if mode == "L" else values.transpose(2, 0, 1)


def _size(pixels: np.ndarray[Any, Any]) -> str:
    """Width and height, as image programs say it."""
    return f"{pixels.shape[2]}x{pixels.shape[1]}"
