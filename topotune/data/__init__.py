"""Data sets: what each one is, and where its reader is. Imports no torch, so that plans and checks are quick."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

from topotune.errors import unknown

PARTS = ("train", "validation", "test")

Root = Path | None


class Reader(Protocol):
    """How one data set is read: a class, an object of which is made without arguments or with the data set's name.

    ``root`` is the folder that holds data sets, of which each reader knows its own part. Every method raises
    InputError where files are missing or damaged.
    """

    def files(self, root: Root, part: str) -> Sequence[Path]:
        """The files that a part is made of; where one has another size or date, the part is prepared anew."""
        ...

    def prepare(self, root: Root, part: str, out: Path) -> dict[str, Any]:
        """Write ``images.npy``, ``labels.npy`` and, for sounds, ``clips.npy`` into the folder ``out``: see ``Split``.

        Returns:
            what there is to say of it: ``mean`` and ``std`` (a list each, of the training part) where the entry has
            none, and ``notes``: how many samples were mended or left out, by the reason.
        """
        ...

    def fetch(self, root: Root) -> None:
        """Download what is missing."""
        ...


@dataclass(frozen=True)
class DatasetEntry:
    """One data set.

    reader: path of a class, see ``Reader``.
    shape: (C, H, W) of what a network sees: an image, or a window of a spectrogram (1, mel bands, frames).
    train, validation, test: how many samples each has when it is complete.
    mean, std: of the pixels in [0, 1], or of the spectrogram in dB, a channel each; empty where they are taken from
        the training part when it is prepared.
    padding: of the random crop in training; 0 for none.
    flip: whether training images are mirrored at random.
    source: the address of the page or folder that it comes from.
    name: of a user's own data, as the reader is told; empty for those of DATASETS.
    """

    reader: str
    classes: int
    shape: tuple[int, int, int]
    train: int
    validation: int
    test: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    padding: int = 0
    flip: bool = False
    source: str = ""
    name: str = ""

    def make_reader(self) -> Reader:
        """The reader itself."""
        made = resolve_name(self.reader)
        reader: Reader = made(self.name) if self.name else made()
        return reader


DATASETS: dict[str, DatasetEntry] = {
    "digits": DatasetEntry(
        reader="topotune.data.digits:Digits",
        classes=10,
        shape=(1, 8, 8),
        train=1077,
        validation=360,
        test=360,
        mean=(0.3053,),  # of the whole set
        std=(0.3760,),
        source="https://archive.ics.uci.edu/dataset/80",
    ),
    # 80/20 and normalisation as Truong & Hasson (arXiv 2508.00043)
    "mnist": DatasetEntry(
        reader="topotune.data.images:MNIST",
        classes=10,
        shape=(1, 28, 28),
        train=48000,
        validation=12000,
        test=10000,
        mean=(0.1307,),
        std=(0.3081,),
        source="https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    # split, normalisation and augmentation as Poli et al. (2022), section 3.2, and their code
    "cifar10": DatasetEntry(
        reader="topotune.data.images:CIFAR10",
        classes=10,
        shape=(3, 32, 32),
        train=45000,
        validation=5000,
        test=10000,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        padding=4,
        flip=True,
        source="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ),
    # 35 words in 1 s each, the official lists; 64 mel bands, 101 frames; Poli et al. (2022), section 3.2
    "speechcommands": DatasetEntry(
        reader="topotune.data.speech:SpeechCommands",
        classes=35,
        shape=(1, 64, 101),
        train=84843,
        validation=9981,
        test=11005,
        source="http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    ),
    # is there a bird: three sets, each split 80/10/10; crops of 1 s; Poli et al. (2022), section 3.2
    "birddcase": DatasetEntry(
        reader="topotune.data.birds:BirdDCASE",
        classes=2,
        shape=(1, 64, 101),
        train=28552,
        validation=3569,
        test=3569,
        source="https://dcase.community/challenge2018/task-bird-audio-detection",
    ),
}
# normalised as cifar10
DATASETS["cifar100"] = replace(
    DATASETS["cifar10"], reader="topotune.data.images:CIFAR100", classes=100,
    source="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
)  # fmt: skip
# 80/20 and normalisation as Truong & Hasson (arXiv 2508.00043), who augment nothing
DATASETS["cifar10_8020"] = replace(
    DATASETS["cifar10"], reader="topotune.data.images:CIFAR10In8020", train=40000, validation=10000,
    std=(0.2470, 0.2435, 0.2616), padding=0, flip=False,
)  # fmt: skip


def is_own(name: str) -> bool:
    """Whether a name is one of a user's own data in the data folder: ``NAME.npz``, or ``NAME/`` for a folder of images.

    It is a name there and no path: ``../NAME.npz`` and ``a/NAME.npz`` are none.
    """
    stem = name[:-1] if name.endswith("/") else name.removesuffix(".npz")
    return stem not in ("", name, ".", "..") and stem.isprintable() and not set(stem) & set("/\\")


class _Names:
    """Every name that a data set can have: those of DATASETS, and those of a user's own data."""

    def __contains__(self, name: object) -> bool:
        return name in DATASETS or (isinstance(name, str) and is_own(name))

    def __iter__(self) -> Iterator[str]:
        """As an error lists them."""
        yield from DATASETS
        yield "or your own data: NAME.npz or NAME/ within the data folder (a name, not a path)"


DATASET_NAMES = _Names()


def dataset_entry(name: str, root: Root) -> DatasetEntry:
    """What a data set is; a user's own is looked at for that, but its images are not read.

    Raises:
        InputError: an unknown name, or own data that are missing or damaged.
    """
    if name not in DATASET_NAMES:
        raise unknown("dataset", name, DATASET_NAMES)
    if name in DATASETS:
        return DATASETS[name]
    from topotune.data.own import describe  # numpy, which a check of settings need not wait for

    return describe(name, root)


def steps_per_epoch(samples: int, batch_size: int, world_size: int = 1) -> int:
    """How many batches an epoch has: the last, smaller one counts if every rank gets two samples of it."""
    whole, rest = divmod(samples, batch_size)
    return whole + (rest >= 2 * world_size)
