"""A user's own data in the data folder: what every kind of them shares.

``NAME.npz`` (see ``npz``) and ``NAME/`` (see ``pictures``); beside either, ``NAME.toml`` may hold ``Options``.
No torch is imported before something is prepared, so that a plan is quick.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np

from topotune.data import DatasetEntry
from topotune.errors import InputError, unknown

READERS = {"npz": "topotune.data.npz:Npz", "folder": "topotune.data.pictures:ImageFolder"}

# how the parts may be called in a file or a folder
SPELLINGS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}

_SHARE = 10  # one in so many training samples is for validation where the data have no validation part
_AT_ONCE = 256  # images

Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Options:
    """What the side file may say.

    padding, flip: of the random crops in training; see ``DatasetEntry``.
    size: height and width to which a folder's images are resized and cropped; 0 where all have one size.
    """

    padding: int = 0
    flip: bool = False
    size: int = 0


def describe(name: str, root: Path | None) -> DatasetEntry:
    """The entry of ``NAME.npz`` or ``NAME/``: of the former headers and labels are read, of the latter one image.

    Raises:
        InputError: it is missing or damaged.
    """
    reader = READERS["folder" if name.endswith("/") else "npz"]
    entry: DatasetEntry = resolve_name(reader)(name).describe(root)
    if entry.padding > max(entry.shape[1:]):
        raise InputError(
            f"{side_file(name, root)}: padding = {entry.padding} is more than the images' {max(entry.shape[1:])} pixels"
        )
    return entry


def own_names(root: Path | None) -> list[str]:
    """What looks like a user's own data in the data folder: files called .npz, and folders with training images."""
    if root is None or not root.is_dir():
        return []
    files = [one.name for one in root.glob("*.npz")]
    folders = [f"{one.parent.name}/" for one in root.glob("*/train") if one.is_dir()]
    return sorted(files + folders)


def side_file(name: str, root: Path | None) -> Path:
    """Where the options of a data set may be."""
    from topotune.data.sources import data_folder

    return data_folder(name, root) / f"{name.removesuffix('/').removesuffix('.npz')}.toml"


def read_options(name: str, root: Path | None) -> Options:
    """The side file's; the defaults where there is none.

    Raises:
        InputError: no TOML, an unknown key or a wrong value.
    """
    path = side_file(name, root)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Options()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as TOML ({error})") from None
    known = [one.name for one in fields(Options) if one.name != "size" or name.endswith("/")]
    for key, value in given.items():
        if key not in known:
            raise unknown("key", key, known, str(path))
        wanted, right = _WANTED[key]
        if not right(value):
            raise InputError(f"{path}: {key} = {value!r} must be {wanted}")
    return Options(**given)


_WANTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "padding": ("an integer >= 0", lambda value: type(value) is int and value >= 0),
    "flip": ("true or false", lambda value: type(value) is bool),
    "size": ("an integer >= 1", lambda value: type(value) is int and value >= 1),
}


def own_entry(
    name: str, options: Options, classes: int, shape: tuple[int, int, int], counts: dict[str, int], where: Path
) -> DatasetEntry:
    """The entry of data with so many samples a part, from which a validation part is drawn where there is none.

    Raises:
        InputError: fewer than two classes, or too few samples to draw from.
    """
    if classes < 2:
        raise InputError(f"{where}: the training part has one class only; there must be at least 2")
    train = counts["train"]
    validation = counts.get("validation") or drawn_count(train)
    if "validation" not in counts:
        train -= validation
    if train < 1:
        raise InputError(f"{where}: one training sample only; a validation part cannot be drawn from fewer than 2")
    return DatasetEntry(
        READERS["folder" if name.endswith("/") else "npz"], classes, shape, train, validation, counts["test"],
        padding=options.padding, flip=options.flip, source=str(where), name=name,
    )  # fmt: skip


def drawn_count(samples: int) -> int:
    """How many of the training samples are for validation where the data have no validation part."""
    return max(round(samples / _SHARE), 1)


def mean_and_std(images: Pixels) -> dict[str, list[float]]:
    """Of each channel of (N, C, H, W) uint8, as fractions of 255; a channel that is constant has a deviation of 1."""
    counts = np.zeros((images.shape[1], 256), np.int64)
    for start in range(0, len(images), _AT_ONCE):
        for channel, row in enumerate(counts):
            row += np.bincount(images[start : start + _AT_ONCE, channel].ravel(), minlength=256)
    shares, values = counts / counts.sum(1, keepdims=True), np.arange(256) / 255
    mean = shares @ values
    std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(1))
    std[(counts > 0).sum(1) == 1] = 1.0
    return {"mean": mean.tolist(), "std": std.tolist()}
