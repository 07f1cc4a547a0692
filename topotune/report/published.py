"""The figures that the first paper published, to stand beside one's own.

Poli, Dupoux & Riad (2022), tables 1 and 2 and figure 3: test accuracy in %, mean and standard deviation over 5 seeds.
Of the second paper (Truong & Hasson, 2025) there is no table to be had.
"""

from collections.abc import Mapping
from typing import Any

from topotune.config import NONE

SOURCE = "Poli et al. (2022)"
# the order of the papers' rows
ROWS = ("grid2d", "circle", "nested2d", "grid3d", "sphere", "nested3d", NONE)
# (data set, model) -> a mean and a standard deviation for each of ROWS
_TABLES: dict[tuple[str, str], tuple[tuple[float, float], ...]] = {
    ("cifar10", "densenet121"): (
        (93.58, 0.21), (93.46, 0.39), (93.42, 0.18), (93.47, 0.18), (93.55, 0.19), (93.55, 0.17), (93.43, 0.13),
    ),
    ("cifar10", "resnet18"): (
        (92.55, 0.32), (92.68, 0.26), (92.53, 0.14), (92.38, 0.15), (92.50, 0.09), (92.34, 0.31), (92.45, 0.17),
    ),
    ("cifar10", "vgg16"): (
        (93.55, 0.10), (93.51, 0.15), (93.45, 0.17), (93.61, 0.19), (93.55, 0.13), (93.53, 0.26), (93.57, 0.18),
    ),
    ("cifar100", "densenet121"): (
        (73.98, 0.38), (74.05, 0.26), (73.84, 0.38), (74.02, 0.46), (73.97, 0.28), (73.94, 0.50), (74.10, 0.22),
    ),
    ("cifar100", "resnet18"): (
        (70.86, 0.31), (70.76, 0.48), (70.93, 0.19), (70.43, 0.25), (71.04, 0.41), (70.91, 0.26), (70.76, 0.19),
    ),
    ("cifar100", "vgg16"): (
        (72.53, 0.28), (72.78, 0.40), (72.87, 0.34), (72.77, 0.28), (72.44, 0.25), (72.59, 0.09), (72.82, 0.26),
    ),
    ("speechcommands", "densenet121"): (
        (97.21, 0.07), (97.22, 0.03), (97.27, 0.07), (97.27, 0.11), (97.19, 0.13), (97.19, 0.10), (97.20, 0.08),
    ),
    ("speechcommands", "resnet18"): (
        (97.35, 0.04), (97.35, 0.11), (97.38, 0.09), (97.33, 0.15), (97.34, 0.03), (97.33, 0.07), (97.36, 0.07),
    ),
    ("speechcommands", "vgg16"): (
        (97.18, 0.09), (97.14, 0.08), (97.17, 0.03), (97.28, 0.06), (97.21, 0.06), (97.17, 0.08), (97.19, 0.05),
    ),
    ("birddcase", "densenet121"): (
        (82.12, 0.29), (82.17, 0.36), (82.48, 0.39), (82.58, 0.08), (82.15, 0.49), (82.27, 0.36), (82.46, 0.31),
    ),
    ("birddcase", "resnet18"): (
        (82.36, 0.44), (82.44, 0.28), (82.30, 0.37), (82.27, 0.43), (82.40, 0.22), (82.28, 0.16), (82.44, 0.21),
    ),
    ("birddcase", "vgg16"): (
        (82.51, 0.22), (82.80, 0.49), (82.68, 0.34), (82.50, 0.44), (82.62, 0.39), (82.67, 0.49), (82.49, 0.60),
    ),
}  # fmt: skip
# figure 3, ResNet-18 on CIFAR-10: topography -> percent of the channels pruned, and the accuracy then
_PRUNED = {"grid2d": (62, 62.0), NONE: (62, 40.6)}


def accuracies(dataset: Any, model: Any) -> dict[str, tuple[float, float]]:
    """Topography -> mean and deviation, where the paper has this data set and network; else nothing."""
    found = _TABLES.get((dataset, model))
    return dict(zip(ROWS, found, strict=True)) if found else {}


def pruning(fixed: Mapping[str, Any]) -> dict[str, tuple[int, float]]:
    """Topography -> percent pruned and accuracy in %, where a study's fixed settings are those of figure 3."""
    return _PRUNED if (fixed.get("dataset"), fixed.get("model")) == ("cifar10", "resnet18") else {}
