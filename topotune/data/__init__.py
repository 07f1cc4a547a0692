"""Data sets: what each one is, and where its reader is. Imports no torch, so that plans and checks are quick."""

from dataclasses import dataclass, replace


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
    "digits": DatasetEntry(
        load="topotune.data.digits:load",
        classes=10,
        shape=(1, 8, 8),
        train=1077,
        validation=360,
        test=360,
        mean=(0.3053,),  # of the whole set
        std=(0.3760,),
    ),
    # 80/20 and normalisation as Truong & Hasson (arXiv 2508.00043)
    "mnist": DatasetEntry(
        load="topotune.data.images:load_mnist",
        classes=10,
        shape=(1, 28, 28),
        train=48000,
        validation=12000,
        test=10000,
        mean=(0.1307,),
        std=(0.3081,),
    ),
    # split, normalisation and augmentation as Poli et al. (2022), section 3.2, and their code
    "cifar10": DatasetEntry(
        load="topotune.data.images:load_cifar10",
        classes=10,
        shape=(3, 32, 32),
        train=45000,
        validation=5000,
        test=10000,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        padding=4,
        flip=True,
    ),
}
# normalised as cifar10
DATASETS["cifar100"] = replace(DATASETS["cifar10"], load="topotune.data.images:load_cifar100", classes=100)


def steps_per_epoch(samples: int, batch_size: int, world_size: int = 1) -> int:
    """How many batches an epoch has: the last, smaller one counts if every rank gets two samples of it."""
    whole, rest = divmod(samples, batch_size)
    return whole + (rest >= 2 * world_size)
