"""MNIST and CIFAR on disk: whole ones are read, damaged ones are named, missing ones are fetched from a real server."""

import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from topotune.data import DATASETS, Reader
from topotune.data.images import CIFAR10, CIFAR10_MD5, CIFAR100, CIFAR100_MD5, MNIST, MNIST_GZ_MD5, MNIST_MD5
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


class Shelf:
    """A folder that a server on loopback gives away, and what it was asked for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.asked = folder, list[str]()
        shelf = self

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_words: object) -> None:
                shelf.asked.append(self.path)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/"

    def put(self, name: str, content: bytes) -> str:
        """The file's MD5."""
        (self.folder / name).write_bytes(content)
        return _md5(content)


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    one = Shelf(tmp_path / "shelf")
    thread = threading.Thread(target=one.http.serve_forever)
    thread.start()
    yield one
    one.http.shutdown()
    one.http.server_close()
    thread.join()


@pytest.fixture
def small_mnist(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Files of MNIST's names, packed on the shelf; their contents."""
    contents = {name: name.encode() * 10 for name in MNIST_MD5}
    packed = {name: shelf.put(f"{name}.gz", gzip.compress(content)) for name, content in contents.items()}
    monkeypatch.setattr(MNIST, "packed", packed)
    monkeypatch.setitem(DATASETS, "mnist", replace(DATASETS["mnist"], source=shelf.url))
    return contents


def test_mnist_is_fetched_file_by_file(small_mnist: dict[str, bytes], shelf: Shelf, tmp_path: Path) -> None:
    MNIST().fetch(tmp_path)
    folder = tmp_path / "MNIST" / "raw"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == small_mnist
    shelf.asked.clear()
    MNIST().fetch(tmp_path)
    assert shelf.asked == []
    (folder / "t10k-labels-idx1-ubyte").unlink()
    MNIST().fetch(tmp_path)
    assert shelf.asked == ["/t10k-labels-idx1-ubyte.gz"]
    assert {path.name for path in folder.iterdir()} == set(small_mnist)


def test_another_file_than_the_official_one_is_not_unpacked(
    small_mnist: dict[str, bytes], shelf: Shelf, tmp_path: Path
) -> None:
    shelf.put("t10k-images-idx3-ubyte.gz", gzip.compress(b"other"))
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz is not the file that was expected: its MD5"):
        MNIST().fetch(tmp_path)
    assert {path.name for path in (tmp_path / "MNIST" / "raw").iterdir()} == {
        "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    }  # fmt: skip


def test_cifar_is_fetched_as_one_archive(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which nothing is written but the files in its folder; one that was put there by hand will do."""
    contents = {name: name.encode() for name in ("train", "test", "meta")}
    names = {f"{CIFAR100.folder}/{name}": content for name, content in contents.items()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in {**names, "../outside": b"", f"{CIFAR100.folder}/deep/file": b""}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(CIFAR100, "packed", shelf.put("cifar-100-python.tar.gz", packed.getvalue()))
    source = f"{shelf.url}cifar-100-python.tar.gz"
    monkeypatch.setitem(DATASETS, "cifar100", replace(DATASETS["cifar100"], source=source))
    root = tmp_path / "data"
    root.mkdir()
    for by_hand in (False, True):
        shelf.asked.clear()
        if by_hand:
            shutil.rmtree(root / CIFAR100.folder)
            (root / "cifar-100-python.tar.gz").write_bytes(packed.getvalue())
        CIFAR100().fetch(root)
        assert len(shelf.asked) == (not by_hand)
        assert {path.name: path.read_bytes() for path in (root / CIFAR100.folder).iterdir()} == contents
        assert [path.name for path in root.iterdir()] == [CIFAR100.folder]
        assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("reader", [MNIST, CIFAR10, CIFAR100])
def test_without_a_network_the_file_and_its_place_are_named(
    reader: type[MNIST], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = DATASETS[reader.name]
    source = "http://127.0.0.1:1/" + entry.source.rpartition("/")[2]
    monkeypatch.setitem(DATASETS, reader.name, replace(entry, source=source))
    with pytest.raises(InputError, match=rf"cannot be fetched \(.*put the file to {tmp_path}/.*\.gz$") as raised:
        reader().fetch(tmp_path)
    assert "\n" not in str(raised.value)


def test_torchvision_expects_the_same_archives() -> None:
    from torchvision import datasets

    assert dict(datasets.MNIST.resources) == {f"{name}.gz": md5 for name, md5 in MNIST_GZ_MD5.items()}
    assert datasets.MNIST.mirrors[0] == DATASETS["mnist"].source
    for own, theirs in ((CIFAR10, datasets.CIFAR10), (CIFAR100, datasets.CIFAR100)):
        assert (own.packed, DATASETS[own.name].source) == (theirs.tgz_md5, theirs.url)
