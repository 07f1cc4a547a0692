"""The embedded default: 1,797 real 8x8 images of handwritten digits that come with scikit-learn."""

from pathlib import Path

import torch
from torch import Tensor

TEST = 360
_SEED = 0  # never changes. The images come writer by writer, so the test part is drawn from all of them


def load(root: Path | None, train: bool, download: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 8, 8) uint8 and labels (N,) int64. Nothing is read from ``root`` and nothing downloaded."""
    from sklearn.datasets import load_digits  # half a second that other data sets need not wait for

    raw = load_digits()
    # 17 grey levels, stretched to 0…255
    images = torch.from_numpy(raw.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(raw.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SEED))
    chosen = order[TEST:] if train else order[:TEST]
    return images[chosen], labels[chosen]
