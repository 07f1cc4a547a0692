"""MNIST and CIFAR on disk: whole ones are read, damaged ones are named."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from topotune.data import Reader
from topotune.data.images import CIFAR10, CIFAR10_MD5, CIFAR100, CIFAR100_MD5, MNIST, MNIST_MD5
from topotune.errors import InputError


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    """Reads one part as a data set's reader prepares it."""

    def load(reader: type[Reader], root: Path | None, part: str) -> tuple[torch.Tensor, torch.Tensor]:
        out = tmp_path / "prepared"
        out.mkdir(exist_ok=True)
        reader().prepare(root, part, out)
        images, labels = (torch.from_numpy(np.load(out / f"{name}.npy")) for name in ("images", "labels"))
        return images, labels

    return load


def test_mnist_pixels_are_where_the_format_has_them(real_data: Path, load: Callable[..., Any]) -> None:
    """An idx file: magic number, count, rows, columns as big-endian words of 4 bytes, then a byte a pixel."""
    images, labels = load(MNIST, real_data, "test")
    raw = (real_data / "MNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()
    assert [int.from_bytes(raw[at : at + 4], "big") for at in range(0, 16, 4)] == [2051, 10000, 28, 28]
    for number, row, column in ((0, 7, 6), (1, 20, 14), (9999, 14, 13)):
        assert images[number, 0, row, column] == raw[16 + number * 784 + row * 28 + column]
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]  # the well-known first ten
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_cifar10_pixels_are_where_the_format_has_them(real_data: Path, load: Callable[..., Any]) -> None:
    """A row is 1,024 red bytes, then green, then blue, each row by row."""
    images, labels = load(CIFAR10, real_data, "test")
    with (real_data / "cifar-10-batches-py" / "test_batch").open("rb") as file:
        batch = pickle.load(file, encoding="bytes")
    assert batch[b"labels"] == labels.tolist()
    for number, channel, row, column in ((0, 0, 0, 0), (3, 1, 5, 9), (9999, 2, 31, 30)):
        assert images[number, channel, row, column] == batch[b"data"][number][channel * 1024 + row * 32 + column]
    assert labels[:8].tolist() == [3, 8, 8, 0, 6, 6, 1, 6]  # cat, ship, ship, plane, frog, frog, car, frog
    assert np.bincount(labels).tolist() == [1000] * 10
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


SETS = [
    pytest.param(MNIST, "MNIST/raw", "t10k-images-idx3-ubyte", MNIST_MD5, id="mnist-images"),
    pytest.param(MNIST, "MNIST/raw", "t10k-labels-idx1-ubyte", MNIST_MD5, id="mnist-labels"),
    pytest.param(CIFAR10, "cifar-10-batches-py", "test_batch", CIFAR10_MD5, id="cifar10"),
]


def _copy(real_data: Path, root: Path, folder: str, checksums: dict[str, str]) -> Path:
    """The test part of a data set, copied."""
    (root / folder).mkdir(parents=True)
    for name in checksums:
        if name.startswith("t") and not name.startswith("train"):
            shutil.copyfile(real_data / folder / name, root / folder / name)
    return root / folder


@pytest.mark.parametrize(("reader", "folder", "name", "checksums"), SETS)
def test_damaged_files_are_named(
    reader: type[Reader],
    folder: str,
    name: str,
    checksums: dict[str, str],
    real_data: Path,
    tmp_path: Path,
    load: Callable[..., Any],
) -> None:
    path = _copy(real_data, tmp_path, folder, checksums) / name
    load(reader, tmp_path, "test")
    whole = path.read_bytes()
    for damage in (_truncate, _flip_a_bit, _empty):
        damage(path)
        with pytest.raises(InputError, match="is truncated or altered: its MD5 is") as error:
            load(reader, tmp_path, "test")
        assert str(path) in str(error.value)
        assert checksums[name] in str(error.value)
        path.write_bytes(whole)
    path.unlink()
    with pytest.raises(InputError, match="is missing") as error:
        load(reader, tmp_path, "test")
    assert str(path) in str(error.value)


def test_a_foreign_pickle_is_never_opened(tmp_path: Path, load: Callable[..., Any]) -> None:
    """The format is a pickle, which may hold code: bytes that are not the official ones do not reach it."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps(_Bomb(tmp_path / "went-off")))
    with pytest.raises(InputError, match=r"test_batch.*truncated or altered"):
        load(CIFAR10, tmp_path, "test")
    assert not (tmp_path / "went-off").exists()
    pickle.loads((folder / "test_batch").read_bytes())  # the bomb is one
    assert (tmp_path / "went-off").exists()


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(("reader", "name"), [(MNIST, "mnist"), (CIFAR10, "cifar10"), (CIFAR100, "cifar100")])
def test_the_folder_must_be_named_and_there(reader: type[Reader], name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"dataset '{name}' needs the folder that holds it: --data FOLDER"):
        reader().files(None, "train")
    with pytest.raises(InputError, match="does not exist") as error:
        reader().files(tmp_path / "nowhere", "train")
    assert str(tmp_path / "nowhere") in str(error.value)


def test_cifar100_gives_fine_labels(real_data: Path, monkeypatch: pytest.MonkeyPatch, load: Callable[..., Any]) -> None:
    """On a part of the official files, which has checksums of its own."""
    part = real_data / "cifar-100-subset"
    if not part.is_dir():
        pytest.skip(f"no cifar-100-subset in {real_data}")
    with pytest.raises(InputError, match="truncated or altered"):
        load(CIFAR100, part, "train")
    own = json.loads((part / "md5.json").read_text())
    monkeypatch.setattr(CIFAR100, "checksums", {name: own[name] for name in CIFAR100_MD5})
    monkeypatch.setattr(CIFAR100, "train", 500)
    for name, size in (("train", 500), ("test", 200)):
        images, labels = load(CIFAR100, part, name)
        assert images.shape == (size, 3, 32, 32)
        assert images.dtype == torch.uint8
        assert torch.bincount(labels, minlength=100).tolist() == [size // 100] * 100
