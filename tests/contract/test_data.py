"""Every data set of DATASETS: what its entry says is what its reader gives."""

from pathlib import Path

import pytest
import torch

from topotune.data import DATASETS
from topotune.data.splits import PARTS, load_split

FOLDERS = {"mnist": "MNIST/raw", "cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}


@pytest.fixture(params=DATASETS)
def dataset(request: pytest.FixtureRequest) -> tuple[str, Path | None]:
    """A name, and the folder that holds it; only the digits need none."""
    name = str(request.param)
    if name == "digits":
        return name, None
    root: Path = request.getfixturevalue("real_data")
    if not (root / FOLDERS[name]).is_dir():
        pytest.skip(f"no {FOLDERS[name]} in {root}")
    return name, root


def test_contract(dataset: tuple[str, Path | None]) -> None:
    name, root = dataset
    entry = DATASETS[name]
    sizes = dict(zip(PARTS, (entry.train, entry.validation, entry.test), strict=True))
    checksums = {}
    for part in PARTS:
        split = load_split(name, part, root)
        assert split.images.shape == (sizes[part], *entry.shape)
        assert split.images.dtype == torch.uint8
        assert split.images.is_contiguous()
        assert split.labels.shape == (sizes[part],)
        assert split.labels.dtype == torch.int64
        assert split.labels.unique().tolist() == list(range(entry.classes))
        assert split.images.min() == 0
        assert split.images.max() == 255
        checksums[part] = split.checksum
    assert len(set(checksums.values())) == 3
    load_split.cache_clear()
    assert load_split(name, "train", root).checksum == checksums["train"]
    load_split.cache_clear()


def test_the_parts_are_disjoint_and_complete(dataset: tuple[str, Path | None]) -> None:
    """Samples of training and validation together are the official training part, once each."""
    from collections import Counter
    from pkgutil import resolve_name

    name, root = dataset
    images, labels = resolve_name(DATASETS[name].load)(root, True, False)
    official = Counter(zip((hash(one.numpy().tobytes()) for one in images), labels.tolist(), strict=True))
    found: Counter[tuple[int, int]] = Counter()
    for part in ("train", "validation"):
        split = load_split(name, part, root)
        found.update(zip((hash(one.numpy().tobytes()) for one in split.images), split.labels.tolist(), strict=True))
        # drawn at random: every class is there about as often as in the whole
        shares = torch.bincount(split.labels) / len(split)
        torch.testing.assert_close(shares, torch.bincount(labels) / len(labels), rtol=0, atol=0.04)
    assert found == official
    load_split.cache_clear()


@pytest.mark.parametrize("name", DATASETS)
def test_normalisation_has_a_value_a_channel(name: str) -> None:
    entry = DATASETS[name]
    assert len(entry.mean) == len(entry.std) == entry.shape[0]
    assert all(0 < value < 1 for value in (*entry.mean, *entry.std))


def test_published_normalisations_are_the_datas(dataset: tuple[str, Path | None]) -> None:
    """Poli et al.'s CIFAR-10 deviations are means of each image's own, smaller than the pixels' (0.247 …)."""
    name, root = dataset
    entry, split = DATASETS[name], load_split(name, "train", root)
    pixels = split.images.float() / 255
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.tensor(entry.mean), rtol=0, atol=0.003)
    each = pixels.std((2, 3)).mean(0) if name.startswith("cifar") else pixels.std((0, 2, 3))
    torch.testing.assert_close(each, torch.tensor(entry.std), rtol=0, atol=0.003)
    load_split.cache_clear()
