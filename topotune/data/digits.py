"""The embedded default: 1,797 real 8x8 images of handwritten digits that come with scikit-learn."""

from pathlib import Path

import torch
from torch import Tensor

TEST = 360  # the last 360 images


def load(root: Path | None, train: bool, download: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 8, 8) uint8 and labels (N,) int64. Nothing is read from ``root`` and nothing downloaded."""
    from sklearn.datasets import load_digits  # half a second that other data sets need not wait for

    raw = load_digits()
    # 17 grey levels, stretched to 0…255
    images = torch.from_numpy(raw.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(raw.target).long()
    return (images[:-TEST], labels[:-TEST]) if train else (images[-TEST:], labels[-TEST:])
