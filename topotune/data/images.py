"""MNIST and CIFAR in the folders that torchvision leaves, every file checked against its official checksum."""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from topotune.errors import InputError

MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
CIFAR10_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
CIFAR100_MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}


def load_mnist(root: Path | None, train: bool, download: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) uint8 and labels (N,) int64 from ``root/MNIST/raw``.

    Raises:
        InputError: a file is missing, truncated or altered.
    """
    folder = _root("mnist", root) / "MNIST" / "raw"
    if download and not all((folder / name).is_file() for name in MNIST_MD5):
        from torchvision.datasets import MNIST

        MNIST(str(root), download=True)
    part = "train" if train else "t10k"
    files = {name: md5 for name, md5 in MNIST_MD5.items() if name.startswith(part)}
    images, labels = (content for content in _verified(folder, files).values())
    # idx files: a header of 16 bytes before images, of 8 before labels
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return torch.from_numpy(pixels.copy()), torch.from_numpy(np.frombuffer(labels, np.uint8, offset=8).astype(np.int64))


def load_cifar10(root: Path | None, train: bool, download: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 from ``root/cifar-10-batches-py``.

    Raises:
        InputError: a file is missing, truncated or altered.
    """
    folder = _root("cifar10", root) / "cifar-10-batches-py"
    if download and not all((folder / name).is_file() for name in CIFAR10_MD5):
        from torchvision.datasets import CIFAR10

        CIFAR10(str(root), download=True)
    files = {name: md5 for name, md5 in CIFAR10_MD5.items() if name.startswith("data" if train else "test")}
    return _cifar(folder, files, "labels")


def load_cifar100(root: Path | None, train: bool, download: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and fine labels (N,) int64 from ``root/cifar-100-python``.

    Raises:
        InputError: a file is missing, truncated or altered.
    """
    folder = _root("cifar100", root) / "cifar-100-python"
    if download and not all((folder / name).is_file() for name in CIFAR100_MD5):
        from torchvision.datasets import CIFAR100

        CIFAR100(str(root), download=True)
    part = "train" if train else "test"
    return _cifar(folder, {part: CIFAR100_MD5[part]}, "fine_labels")


def _cifar(folder: Path, files: Mapping[str, str], labels: str) -> tuple[Tensor, Tensor]:
    # the format is a pickle; only bytes that equal the official files' reach it
    batches = [pickle.loads(content, encoding="latin1") for content in _verified(folder, files).values()]
    pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    return torch.from_numpy(pixels), torch.tensor([label for batch in batches for label in batch[labels]])


def _root(name: str, root: Path | None) -> Path:
    if root is None:
        raise InputError(f"dataset {name!r} needs the folder that holds it: --data FOLDER, or TOPOTUNE_DATA")
    if not root.is_dir():
        raise InputError(f"data folder {root} does not exist; give the folder that holds {name!r} with --data")
    return root


def _verified(folder: Path, files: Mapping[str, str]) -> dict[str, bytes]:
    """The content of each file, once it has the checksum (MD5) that it should have."""
    contents = {}
    for name, md5 in files.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} is missing; --download fetches it where there is a network")
        content = path.read_bytes()
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            raise InputError(
                f"{path} ({len(content)} bytes) is truncated or altered: its MD5 is {found}, it should be {md5}"
            )
        contents[name] = content
    return contents
