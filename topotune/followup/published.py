"""CIFAR-10-C as it was published (doi 10.5281/zenodo.2535967), where a user has it: ``CIFAR-10-C/*.npy`` in the folder
of the data sets.

Each corruption is a uint8 array (50000, 32, 32, 3): the 10,000 test images in order, once for each severity from 1 to
5; ``labels.npy`` (50000,) their labels.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from topotune.data.splits import Split
from topotune.errors import InputError
from topotune.followup.perturbations import PERTURBATIONS, SEVERITIES

FOLDER = "CIFAR-10-C"
DATASETS = ("cifar10", "cifar10_8020")  # one test part


def published(name: str, level: float, dataset: str, test: Split, data: Path | None) -> Split | None:
    """The test part under one corruption as it was published, or None where that is not there.

    Raises:
        InputError: a file is damaged, or its labels are not those of the test part.
    """
    if data is None or dataset not in DATASETS or not PERTURBATIONS[name].corruption:
        return None
    path = data / FOLDER / f"{name}.npy"
    if not path.is_file():
        return None
    count = len(test)
    images = _array(path, (len(SEVERITIES) * count, *test.images.shape[2:], test.images.shape[1]))
    labels = _array(data / FOLDER / "labels.npy", (len(SEVERITIES) * count,))
    if not np.array_equal(labels, np.tile(test.labels.cpu().numpy(), len(SEVERITIES))):
        raise InputError(f"{data / FOLDER / 'labels.npy'} does not hold the labels of the test part of {dataset!r}")
    first = (int(level) - 1) * count
    own = torch.from_numpy(np.ascontiguousarray(images[first : first + count].transpose(0, 3, 1, 2)))
    return replace(test, images=own)


def _array(path: Path, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); fetch it again, or take {FOLDER} away") from None
    if array.dtype != np.uint8 or array.shape != shape:
        raise InputError(f"{path} holds {array.dtype} {array.shape}; it should hold uint8 {shape}")
    return array
