"""Batches: order, shards, crops and flips against plain loops."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from topotune.data import DATASETS, DatasetEntry, steps_per_epoch
from topotune.data.batches import derive_seed, evaluation_batches, normalise, training_batches
from topotune.data.splits import Split

# pixels come through unchanged: (x / 255 − 0) / (1 / 255)
PLAIN = replace(DATASETS["digits"], mean=(0.0,), std=(1 / 255,), padding=0, flip=False)


def _numbered(count: int, *, height: int = 2, width: int = 3, channels: int = 1, entry: DatasetEntry = PLAIN) -> Split:
    """Images whose every pixel is drawn, and labels that number them."""
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(1, 256, (count, channels, height, width), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(count), "checksum", entry)


def _numbers(split: Split, size: int, seed: int, **options: int) -> list[list[int]]:
    return [
        batch.labels.tolist() for batch in training_batches(split, size, seed, augment=False, **options)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("samples", "size", "ranks", "steps"),
    [
        (10, 5, 1, 2),
        (11, 5, 1, 2),  # one sample left over: batch normalisation cannot have it
        (12, 5, 1, 3),
        (13, 5, 2, 2),  # three left for two ranks: one of them would have a single sample
        (14, 5, 2, 3),
        (1077, 64, 2, 17),
        (1, 2, 1, 0),
        (2, 256, 1, 1),
    ],
)
def test_steps_per_epoch(samples: int, size: int, ranks: int, steps: int) -> None:
    assert steps_per_epoch(samples, size, ranks) == steps


@settings(deadline=None, max_examples=60)
@given(st.integers(4, 80), st.integers(2, 20), st.integers(0, 5))
def test_an_epoch_has_every_sample_once(count: int, size: int, seed: int) -> None:
    numbers = [number for batch in _numbers(_numbered(count), size, seed) for number in batch]
    whole, rest = divmod(count, size)
    left_out = rest if rest < 2 else 0
    assert len(numbers) == count - left_out
    assert max(Counter(numbers).values()) == 1
    sizes = [len(batch) for batch in _numbers(_numbered(count), size, seed)]
    assert sizes == [size] * whole + [rest] * (rest >= 2)


def test_order_depends_on_the_seed_alone() -> None:
    split = _numbered(40)
    assert _numbers(split, 8, seed=1) == _numbers(split, 8, seed=1)
    assert _numbers(split, 8, seed=1) != _numbers(split, 8, seed=2)


@settings(deadline=None, max_examples=40)
@given(st.integers(12, 60), st.integers(6, 20), st.integers(2, 3), st.integers(0, 5))
def test_ranks_share_one_ranks_batches(count: int, size: int, ranks: int, seed: int) -> None:
    """Together they see the very same pixels, crops and flips included, wherever all have the same steps."""
    split = _numbered(count, entry=replace(PLAIN, padding=2, flip=True))
    alone = list(training_batches(split, size, seed, augment=True))
    shards = [
        list(training_batches(split, size, seed, augment=True, rank=rank, world_size=ranks)) for rank in range(ranks)
    ]
    steps = steps_per_epoch(count, size, ranks)
    assert {len(shard) for shard in shards} == {steps}
    for step in range(steps):
        whole = {int(label): image for label, image in zip(alone[step].labels, alone[step].images, strict=True)}
        parts, together = [shard[step] for shard in shards], len(whole)
        assert sum(len(part.labels) for part in parts) == together
        assert all(len(part.labels) >= 2 for part in parts)
        for part in parts:
            assert part.share == pytest.approx(len(part.labels) * ranks / together)
            for label, image in zip(part.labels, part.images, strict=True):
                assert torch.equal(image, whole.pop(int(label)))
        assert not whole
    assert all(batch.share == 1 for batch in alone)


def _cut(image: Tensor, padding: int, row: int, column: int, mirror: bool) -> Tensor:
    """One crop, pixel by pixel."""
    channels, height, width = image.shape
    out = torch.zeros_like(image)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                source_y, source_x = y + row - padding, (width - 1 - x if mirror else x) + column - padding
                if 0 <= source_y < height and 0 <= source_x < width:
                    out[c, y, x] = image[c, source_y, source_x]
    return out


@pytest.mark.parametrize(("padding", "flip"), [(2, True), (2, False), (0, True), (1, True)])
def test_crops_and_flips_against_a_loop(padding: int, flip: bool) -> None:
    """The draws are those of one generator, in the order: permutation, shifts, mirrors."""
    entry = replace(PLAIN, padding=padding, flip=flip, mean=(0.0, 0.0), std=(1 / 255, 1 / 255))
    split, size, seed = _numbered(23, height=4, width=5, channels=2, entry=entry), 8, 11
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(23, generator=generator)
    flipped = 0
    for step, batch in enumerate(training_batches(split, size, seed, augment=True)):
        index = order[step * size : (step + 1) * size]
        shift = torch.randint(2 * padding + 1, (2, len(index)), generator=generator)
        mirror = torch.rand(len(index), generator=generator) < 0.5
        assert batch.labels.tolist() == index.tolist()
        for place, number in enumerate(index.tolist()):
            turned = flip and bool(mirror[place])
            flipped += turned
            expected = _cut(split.images[number], padding, int(shift[0, place]), int(shift[1, place]), turned)
            assert torch.equal(batch.images[place].round().to(torch.uint8), expected)
    assert 0 < flipped < 23 or not flip


def test_crops_reach_every_place_and_half_are_mirrored() -> None:
    image = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3)
    entry = replace(PLAIN, padding=1, flip=True)
    split = Split(image.expand(4000, 1, 3, 3), torch.zeros(4000, dtype=torch.long), "", entry)
    seen: Counter[tuple[float, ...]] = Counter()
    for batch in training_batches(split, 500, 0, augment=True):
        seen.update(tuple(one.flatten().round().tolist()) for one in batch.images)
    # 3 x 3 places times two: each about 4000 / 18 = 222 times (standard deviation 15)
    assert len(seen) == 18
    assert all(150 < count < 300 for count in seen.values())


def test_without_augmentation_the_order_stays_and_the_pixels_are_the_images() -> None:
    split = _numbered(20, entry=replace(PLAIN, padding=2, flip=True))
    for plain, cropped in zip(
        training_batches(split, 8, 3, augment=False), training_batches(split, 8, 3, augment=True),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(plain.labels, cropped.labels)
        assert not torch.equal(plain.images, cropped.images)
        assert torch.equal(plain.images.round().to(torch.uint8), split.images[plain.labels])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 20), st.integers(1, 3))
def test_evaluation_has_every_sample_once_over_the_ranks(count: int, size: int, ranks: int) -> None:
    split = _numbered(count)
    parts = [
        [number for batch in evaluation_batches(split, size, rank, ranks) for number in batch.labels.tolist()]
        for rank in range(ranks)
    ]
    assert sorted(number for part in parts for number in part) == list(range(count))
    assert all(part == sorted(part) for part in parts)


def test_normalise_by_hand() -> None:
    entry = replace(DATASETS["cifar10"], mean=(0.5, 0.2, 0.0), std=(0.25, 0.1, 1.0))
    images = torch.tensor([[[[0, 255]], [[51, 102]], [[255, 51]]]], dtype=torch.uint8)
    expected = torch.tensor([[[[-2.0, 2.0]], [[0.0, 2.0]], [[1.0, 0.2]]]])
    found = normalise(images, entry)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_derived_seeds() -> None:
    """Pinned: results on disk were made with these, the first 63 bits of a SHA-256."""
    assert derive_seed(0, "weights") == 133441691874178746
    assert derive_seed(3, "order", 7) == 8403337869328738062
    seeds = {derive_seed(seed, name, epoch) for seed in range(20) for name in ("order", "x") for epoch in range(5)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, 2, 3) != derive_seed(12, 3)
