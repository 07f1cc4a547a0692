"""The embedded default: 1,797 real 8x8 images of handwritten digits that come with scikit-learn."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from topotune.data.cache import save_array
from topotune.data.sources import drawn

TEST = 360
VALIDATION = 360
_SEED = 0  # never changes. The images come writer by writer, so the test part is drawn from all of them


class Digits:
    """See ``Reader``. Nothing is read from ``root`` and nothing downloaded."""

    def files(self, root: Path | None, part: str) -> list[Path]:
        """None: scikit-learn's own copy never changes."""
        return []

    def prepare(self, root: Path | None, part: str, out: Path) -> dict[str, Any]:
        """Images (N, 1, 8, 8)."""
        from sklearn.datasets import load_digits  # half a second that other data sets need not wait for

        raw = load_digits()
        # 17 grey levels, stretched to 0…255
        images = np.rint(raw.images[:, None] * (255 / 16)).astype(np.uint8)
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(_SEED)).numpy()
        chosen = order[:TEST]
        if part != "test":
            chosen = order[TEST:][drawn(len(order) - TEST, part, len(order) - TEST - VALIDATION)]
        save_array(out, "images", images[chosen])
        save_array(out, "labels", raw.target[chosen].astype(np.int64))
        return {}

    def fetch(self, root: Path | None) -> None:
        """Nothing to do."""
