"""MNIST and CIFAR on disk: whole ones are read, damaged ones are named."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from topotune.data.images import CIFAR10_MD5, CIFAR100_MD5, MNIST_MD5, load_cifar10, load_cifar100, load_mnist
from topotune.errors import InputError


def test_mnist_pixels_are_where_the_format_has_them(real_data: Path) -> None:
    """An idx file: magic number, count, rows, columns as big-endian words of 4 bytes, then a byte a pixel."""
    images, labels = load_mnist(real_data, False, False)
    raw = (real_data / "MNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()
    assert [int.from_bytes(raw[at : at + 4], "big") for at in range(0, 16, 4)] == [2051, 10000, 28, 28]
    for number, row, column in ((0, 7, 6), (1, 20, 14), (9999, 14, 13)):
        assert images[number, 0, row, column] == raw[16 + number * 784 + row * 28 + column]
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]  # the well-known first ten
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_cifar10_pixels_are_where_the_format_has_them(real_data: Path) -> None:
    """A row is 1,024 red bytes, then green, then blue, each row by row."""
    images, labels = load_cifar10(real_data, False, False)
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
    pytest.param(load_mnist, "MNIST/raw", "t10k-images-idx3-ubyte", MNIST_MD5, id="mnist-images"),
    pytest.param(load_mnist, "MNIST/raw", "t10k-labels-idx1-ubyte", MNIST_MD5, id="mnist-labels"),
    pytest.param(load_cifar10, "cifar-10-batches-py", "test_batch", CIFAR10_MD5, id="cifar10"),
]


def _copy(real_data: Path, root: Path, folder: str, checksums: dict[str, str]) -> Path:
    """The test part of a data set, copied."""
    (root / folder).mkdir(parents=True)
    for name in checksums:
        if name.startswith("t") and not name.startswith("train"):
            shutil.copyfile(real_data / folder / name, root / folder / name)
    return root / folder


@pytest.mark.parametrize(("load", "folder", "name", "checksums"), SETS)
def test_damaged_files_are_named(
    load: Callable[..., object], folder: str, name: str, checksums: dict[str, str], real_data: Path, tmp_path: Path
) -> None:
    path = _copy(real_data, tmp_path, folder, checksums) / name
    load(tmp_path, False, False)
    whole = path.read_bytes()
    for damage in (_truncate, _flip_a_bit, _empty):
        damage(path)
        with pytest.raises(InputError, match="is truncated or altered: its MD5 is") as error:
            load(tmp_path, False, False)
        assert str(path) in str(error.value)
        assert checksums[name] in str(error.value)
        path.write_bytes(whole)
    path.unlink()
    with pytest.raises(InputError, match="is missing") as error:
        load(tmp_path, False, False)
    assert str(path) in str(error.value)


def test_a_foreign_pickle_is_never_opened(tmp_path: Path) -> None:
    """The format is a pickle, which may hold code: bytes that are not the official ones do not reach it."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps(_Bomb(tmp_path / "went-off")))
    with pytest.raises(InputError, match=r"test_batch.*truncated or altered"):
        load_cifar10(tmp_path, False, False)
    assert not (tmp_path / "went-off").exists()
    pickle.loads((folder / "test_batch").read_bytes())  # the bomb is one
    assert (tmp_path / "went-off").exists()


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(("load", "name"), [(load_mnist, "mnist"), (load_cifar10, "cifar10")])
def test_the_folder_must_be_named_and_there(load: Callable[..., object], name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"dataset '{name}' needs the folder that holds it: --data FOLDER"):
        load(None, True, False)
    with pytest.raises(InputError, match="does not exist") as error:
        load(tmp_path / "nowhere", True, False)
    assert str(tmp_path / "nowhere") in str(error.value)


def test_cifar100_gives_fine_labels(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a part of the official files, which has checksums of its own."""
    part = real_data / "cifar-100-subset"
    if not part.is_dir():
        pytest.skip(f"no cifar-100-subset in {real_data}")
    with pytest.raises(InputError, match="truncated or altered"):
        load_cifar100(part, True, False)
    own = json.loads((part / "md5.json").read_text())
    monkeypatch.setattr("topotune.data.images.CIFAR100_MD5", {name: own[name] for name in CIFAR100_MD5})
    for train, size in ((True, 500), (False, 200)):
        images, labels = load_cifar100(part, train, False)
        assert images.shape == (size, 3, 32, 32)
        assert images.dtype == torch.uint8
        assert torch.bincount(labels, minlength=100).tolist() == [size // 100] * 100
