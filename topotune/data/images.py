"""MNIST and CIFAR in the folders that torchvision leaves, every file checked against its official checksum."""

import gzip
import pickle
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from topotune.data import DATASETS
from topotune.data.cache import save_array
from topotune.data.sources import data_folder, download, drawn, verified
from topotune.files import write_bytes

MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
MNIST_GZ_MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
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


class _Official(ABC):
    """A data set of an official training and an official test part, in files that have official checksums."""

    name: ClassVar[str]
    folder: ClassVar[str]
    checksums: ClassVar[Mapping[str, str]]
    test: ClassVar[str]  # how the test part's files begin
    train: ClassVar[int]  # how many of the official training part are not for validation

    def files(self, root: Path | None, part: str) -> list[Path]:
        """Those of the official part."""
        folder = data_folder(self.name, root) / self.folder
        return [folder / name for name in self.checksums if name.startswith(self.test) == (part == "test")]

    def prepare(self, root: Path | None, part: str, out: Path) -> dict[str, Any]:
        """Read the official part, and keep what is of this one."""
        images, labels = self.read([verified(path, self.checksums[path.name]) for path in self.files(root, part)])
        if part != "test":
            chosen = drawn(len(labels), part, self.train)
            images, labels = images[chosen], labels[chosen]
        save_array(out, "images", images)
        save_array(out, "labels", labels)
        return {}

    def fetch(self, root: Path | None) -> None:
        """Download and unpack the official files, if one is missing.

        Raises:
            InputError: they cannot be downloaded.
        """
        if not all(path.is_file() for part in ("train", "test") for path in self.files(root, part)):
            self.download(DATASETS[self.name].source, data_folder(self.name, root))

    @abstractmethod
    def download(self, source: str, root: Path) -> None:
        """Fetch what is missing from the address ``source``."""

    @staticmethod
    @abstractmethod
    def read(contents: list[bytes]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Images (N, C, H, W) uint8 and labels (N,) int64 from the files' contents."""


class MNIST(_Official):
    """Images (N, 1, 28, 28) from ``root/MNIST/raw``; see ``Reader``."""

    name, folder, checksums, test, train = "mnist", "MNIST/raw", MNIST_MD5, "t10k", 48000
    packed: ClassVar[Mapping[str, str]] = MNIST_GZ_MD5

    def download(self, source: str, root: Path) -> None:
        """File by file."""
        for name, md5 in self.packed.items():
            path = root / self.folder / name
            if not path.is_file():
                archive = path.with_name(f"{name}.gz")
                download(source + archive.name, archive, md5=md5)
                write_bytes(path, gzip.decompress(archive.read_bytes()))
                archive.unlink()

    @staticmethod
    def read(contents: list[bytes]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """idx files: a header of 16 bytes before images, of 8 before labels."""
        images, labels = contents
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
        return pixels, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)


class CIFAR10(_Official):
    """Images (N, 3, 32, 32) from ``root/cifar-10-batches-py``; see ``Reader``."""

    name, folder, checksums, test, train = "cifar10", "cifar-10-batches-py", CIFAR10_MD5, "test", 45000
    packed: ClassVar[str] = "c58f30108f718f92721af3b95e74349a"

    def download(self, source: str, root: Path) -> None:
        """The one archive, of which nothing is read but the files in its folder."""
        archive = root / source.rpartition("/")[2]
        download(source, archive, md5=self.packed)
        with tarfile.open(archive) as tar:
            for member in tar:
                path = Path(member.name)
                if str(path.parent) == self.folder and (file := tar.extractfile(member)):
                    write_bytes(root / self.folder / path.name, file.read())
        archive.unlink()

    @staticmethod
    def read(contents: list[bytes]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The format is a pickle; only bytes that equal the official files' reach it."""
        batches = [pickle.loads(content, encoding="latin1") for content in contents]
        pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        kind = "labels" if "labels" in batches[0] else "fine_labels"
        return pixels, np.array([label for batch in batches for label in batch[kind]], np.int64)


class CIFAR10In8020(CIFAR10):
    """CIFAR-10 with a fifth of its training part for validation."""

    train = 40000


class CIFAR100(CIFAR10):
    """Images (N, 3, 32, 32) from ``root/cifar-100-python``, with their fine labels; see ``Reader``."""

    name, folder, checksums, test = "cifar100", "cifar-100-python", CIFAR100_MD5, "test"
    packed = "eb9058c3a382ffc7106e4002c42a8d85"
