"""Data sets: what each one is, and where its reader is. Imports no torch, so that plans and checks are quick."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetEntry:
    """One data set.

    load: path of a function (root, train, download) -> images (N, C, H, W) uint8 and labels (N,) int64 of the
        official training or test part.
    shape: (C, H, W) of one image.
    train, validation, test: how many images each has; the first two share the official training part, split once
        and for all.
    mean, std: of the pixels in [0, 1], a channel each.
    padding: of the random crop in training; 0 for none.
    flip: whether training images are mirrored at random.
    """

    load: str
    classes: int
    shape: tuple[int, int, int]
    train: int
    validation: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int = 0
    flip: bool = False


DATASETS: dict[str, DatasetEntry] = {
    # scikit-learn's copy of the UCI optical digits; statistics of the whole set
    "digits": DatasetEntry("topotune.data.digits:load", 10, (1, 8, 8), 1077, 360, 360, (0.3053,), (0.3760,)),
    # 80/20 and normalisation as Truong & Hasson (arXiv 2508.00043)
    "mnist": DatasetEntry(
        "topotune.data.images:load_mnist", 10, (1, 28, 28), 48000, 12000, 10000, (0.1307,), (0.3081,),
    ),  # fmt: skip
    # split, normalisation and augmentation as Poli et al. (2022), section 3.2, and their code
    "cifar10": DatasetEntry(
        "topotune.data.images:load_cifar10", 10, (3, 32, 32), 45000, 5000, 10000,
        (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), padding=4, flip=True,
    ),
}  # fmt: skip


def steps_per_epoch(samples: int, batch_size: int, world_size: int = 1) -> int:
    """How many batches an epoch has: the last, smaller one counts if every rank gets two samples of it."""
    whole, rest = divmod(samples, batch_size)
    return whole + (rest >= 2 * world_size)
