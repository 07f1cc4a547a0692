"""Prepared data: arrays in a folder, written once for all processes of a node, memory-mapped by each.

TOPOTUNE_CACHE, or ~/.cache/topotune, holds a folder for each part of each data set, whose name ends in a hash of the
files that it was made of. It can be deleted at any time: the next run prepares it anew.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from topotune.errors import DiskFull, InputError
from topotune.files import is_full, read_table, write_json

FORMAT = 1  # of what readers write: another number, and everything is prepared anew
META = "meta.json"  # written last

Prepare = Callable[[Path], dict[str, Any]]


def cache_folder() -> Path:
    """Where prepared data live."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TOPOTUNE_CACHE") or Path(home) / "topotune").absolute()


def prepared(name: str, files: Sequence[Path], prepare: Prepare) -> Path:
    """The folder of what ``prepare`` makes of these files; it is made now if no process has made it before.

    Args:
        name: what it is of, for people: ``cifar10-train``.
        files: what it is made of.
        prepare: writes arrays into the folder that it is given, and returns what there is to say of them.

    Raises:
        InputError: the cache cannot be written, or what ``prepare`` raises.
        DiskFull: there is no room for it.
    """
    home = cache_folder()
    folder = home / f"{name}-{_fingerprint(name, files)}"
    if not (folder / META).exists():
        try:
            home.mkdir(parents=True, exist_ok=True)
            with _lock(home / f".{folder.name}.lock"):
                if not (folder / META).exists():
                    _make(folder, prepare)
        except OSError as error:
            kind = DiskFull if is_full(error) else InputError
            raise kind(
                f"prepared data cannot be kept in {home} ({error.strerror or error}); TOPOTUNE_CACHE names another one"
            ) from None
    return folder


def save_array(folder: Path, name: str, array: np.ndarray[Any, Any]) -> None:
    """Write ``name``.npy."""
    np.save(folder / f"{name}.npy", np.ascontiguousarray(array))


def open_array(folder: Path, name: str) -> Tensor:
    """``name``.npy as a tensor over the file itself: its pages are in memory once, for all processes that read them.

    Raises:
        InputError: the file is damaged.
    """
    try:
        # copy-on-write: a process that writes into the tensor changes its own pages only
        return torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c"))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"prepared data in {folder} are damaged ({error}); delete that folder") from None


def read_meta(folder: Path) -> dict[str, Any]:
    """``checksum``, SHA-256 of images and labels in ``folder``, and what the reader said of them."""
    return read_table(folder / META)


def _make(folder: Path, prepare: Prepare) -> None:
    # what was begun, and never finished, by a process that is no more: this one has the lock
    for left in (folder, *(path for path in folder.parent.glob(f".{folder.name}.*") if path.is_dir())):
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        said = prepare(fresh)
        checksum = "".join(_digest(fresh / f"{name}.npy") for name in ("images", "labels"))
        write_json(fresh / META, {"checksum": checksum, **said})
        fresh.chmod(0o755)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _digest(path: Path) -> str:
    values = np.load(path, mmap_mode="r")
    return hashlib.sha256(values.data if values.size else b"").hexdigest()[:16]


def _fingerprint(name: str, files: Sequence[Path]) -> str:
    """Of the files' names, sizes and dates: reading them all through at every start would take minutes for sounds."""
    digest = hashlib.sha256(json.dumps([FORMAT, name]).encode())
    for path in files:
        try:
            found = os.stat(path)  # a hundred thousand sounds: pathlib takes twice as long
        except FileNotFoundError:
            raise InputError(
                f"{path} is missing; --download fetches it where it has a public source and there is a network"
            ) from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error})") from None
        digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Others wait here, and then find the work done. The file goes with its lock: who waited for it takes a new one."""
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    continue
            except FileNotFoundError:
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
