"""Every data set of DATASETS: what its entry says is what its reader gives."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from topotune.data import DATASETS, PARTS
from topotune.data.batches import evaluation_batches, training_batches
from topotune.data.splits import Split, forget_splits, load_split

FOLDERS = {
    "mnist": "MNIST/raw", "cifar10": "cifar-10-batches-py", "cifar10_8020": "cifar-10-batches-py",
    "cifar100": "cifar-100-python", "speechcommands": "SpeechCommands", "birddcase": "BirdDCASE",
}  # fmt: skip
COMPLETE = {"digits", "mnist", "cifar10", "cifar10_8020", "cifar100"}  # by their checksums
SOUNDS = {"speechcommands", "birddcase"}

Dataset = tuple[str, dict[str, Split], Path | None]


@pytest.fixture(scope="module", params=DATASETS)
def dataset(request: pytest.FixtureRequest) -> Dataset:
    """A name, its three parts, and the folder that they are in; only the digits need none."""
    name, root = str(request.param), None
    if name != "digits":
        root = request.getfixturevalue("real_data")
        if not (root / FOLDERS[name]).is_dir():
            pytest.skip(f"no {FOLDERS[name]} in {root}")
    forget_splits()
    return name, {part: load_split(name, part, root) for part in PARTS}, root


def test_shapes_and_labels(dataset: Dataset) -> None:
    name, parts, _root = dataset
    for part, split in parts.items():
        entry = DATASETS[name]
        assert split.labels.dtype == torch.int64
        assert split.labels.shape == (len(split),)
        assert set(split.labels.tolist()) <= set(range(entry.classes))
        assert split.images.is_contiguous()
        if name in COMPLETE:
            assert len(split) == getattr(entry, part)
            assert split.images.shape == (len(split), *entry.shape)
            assert split.images.dtype == torch.uint8
            assert (int(split.images.min()), int(split.images.max())) == (0, 255)
            assert split.labels.unique().tolist() == list(range(entry.classes))
            assert split.clips is None
            assert split.notes == {}
    assert len({split.checksum for split in parts.values()}) == 3


def test_sounds_are_frames_of_clips(dataset: Dataset) -> None:
    name, parts, _root = dataset
    if name not in SOUNDS:
        pytest.skip("no sounds")
    for split in parts.values():
        assert split.clips is not None
        assert split.images.dtype == torch.float16
        assert split.images.shape[1] == split.entry.shape[1]
        assert split.images.isfinite().all()
        first, count = split.clips.T
        assert first.tolist() == [0, *count.cumsum(0)[:-1].tolist()]
        assert count.sum() == len(split.images)
        assert count.min() >= split.entry.shape[2]


def test_the_parts_are_disjoint_and_the_same_again(dataset: Dataset) -> None:
    name, parts, root = dataset

    def samples(split: Split) -> Counter[bytes]:
        if split.clips is None:
            return Counter(image.numpy().tobytes() for image in split.images)
        return Counter(split.images[one : one + count].numpy().tobytes() for one, count in split.clips.tolist())

    train, validation, test = (samples(parts[part]) for part in PARTS)
    # CIFAR's official parts hold a few pictures twice, and two of the digits are alike
    assert (train & validation).total() <= 0.001 * train.total() + 1
    assert (train & test).total() <= 0.001 * train.total() + 1
    forget_splits()
    again = load_split(name, "train", root)
    assert again.checksum == parts["train"].checksum
    assert torch.equal(again.labels, parts["train"].labels)


def test_classes_are_in_training_and_validation_alike(dataset: Dataset) -> None:
    """Drawn at random: every class is there about as often in both. Speakers and birds come in few, or as lists."""
    name, parts, _root = dataset
    if name in SOUNDS:
        pytest.skip("official lists, or very few clips")
    shares = [parts[part].labels.bincount() / len(parts[part]) for part in ("train", "validation")]
    torch.testing.assert_close(*shares, rtol=0, atol=0.04)


def test_normalisation_is_the_datas(dataset: Dataset) -> None:
    """Poli et al.'s CIFAR-10 deviations are means of each image's own, smaller than the pixels' (0.247 …)."""
    name, parts, _root = dataset
    split = parts["train"]
    entry = split.entry
    assert len(entry.mean) == len(entry.std) == entry.shape[0]
    assert all(part.entry == entry for part in parts.values())
    if name in SOUNDS:
        values = split.images.double()
        assert entry.mean == pytest.approx([values.mean().item()], rel=1e-9)
        assert entry.std == pytest.approx([values.std(correction=0).item()], rel=1e-6)
        return
    assert all(0 < value < 1 for value in (*entry.mean, *entry.std))
    pixels = split.images.float() / 255
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.tensor(entry.mean), rtol=0, atol=0.003)
    by_image = name in ("cifar10", "cifar100")
    each = pixels.std((2, 3)).mean(0) if by_image else pixels.std((0, 2, 3))
    torch.testing.assert_close(each, torch.tensor(entry.std), rtol=0, atol=0.003)


def test_batches(dataset: Dataset) -> None:
    """What a network gets: every sample once, in the entry's shape, on the scale of its normalisation."""
    _name, parts, _root = dataset
    train = parts["train"]
    batch = next(training_batches(train, min(len(train), 128), 0, augment=True))
    assert batch.images.shape == (len(batch.labels), *train.entry.shape)
    assert batch.images.dtype == torch.float32
    assert abs(batch.images.mean().item()) < 0.5
    assert 0.5 < batch.images.std().item() < 2
    seen = list(evaluation_batches(parts["validation"]))
    assert torch.equal(torch.cat([one.labels for one in seen]), parts["validation"].labels)
    for one in seen:
        owners = one.owner if one.owner is not None else torch.arange(len(one.labels))
        assert len(owners) == len(one.images)
        assert owners.unique().tolist() == list(range(len(one.labels)))
