"""Batches: order, shards, crops, flips and windows against plain loops."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from topotune.data import DATASETS, DatasetEntry, steps_per_epoch
from topotune.data.batches import Batch, derive_seed, evaluation_batches, normalise, training_batches
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


class _Copies(TorchDispatchMode):
    """Counts what goes from one device to another."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {one.device for one in torch.utils._pytree.tree_leaves(args) if isinstance(one, Tensor)}
        self.count += isinstance(result, Tensor) and bool(given - {result.device})
        return result


@pytest.mark.parametrize("sounds", [False, True])
def test_only_the_first_batch_waits_for_the_device(sounds: bool) -> None:
    """Where each step waited, a GPU would stand idle while the next one is prepared."""
    split = _clips(6, 9, 7, 8, 6, 6, 9, 7) if sounds else _numbered(40, entry=replace(PLAIN, padding=2, flip=True))
    batches = training_batches(split.to(torch.device("meta")), len(split) // 4, 0, augment=True)
    copies = []
    for _step in range(4):
        with _Copies() as counted:
            assert next(batches).images.device.type == "meta"
        copies.append(counted.count)
    assert copies == [3, 0, 0, 0]


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


def _batch(count: int, share: float = 1.0) -> Batch:
    return Batch(torch.randn(count, 1, 2, 3), torch.arange(count), share)


@given(st.integers(2, 60), st.integers(1, 12), st.floats(0.1, 2.0))
def test_parts_are_the_whole(count: int, parts: int, share: float) -> None:
    """Nearly equal sizes, in order; their shares sum to the whole's, each as its samples are of all."""
    whole = _batch(count, share)
    found = whole.parts(parts)
    sizes = [len(part.labels) for part in found]
    assert len(found) == max(min(parts, count // 2), 1)
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1
    assert torch.equal(torch.cat([part.images for part in found]), whole.images)
    assert torch.equal(torch.cat([part.labels for part in found]), whole.labels)
    assert sum(part.share for part in found) == pytest.approx(share)
    for part, size in zip(found, sizes, strict=True):
        assert len(part.images) == size
        assert part.share == pytest.approx(share * size / count)
        assert part.owner is None


def test_one_part_is_the_batch_itself() -> None:
    """Also of three samples, half of which would be one and a half."""
    whole = _batch(3, 0.5)
    assert whole.parts(1)[0] is whole
    assert whole.parts(2)[0] is whole
    assert len(whole.parts(2)) == 1


BANDS, WIDTH = 3, 5  # M and W


def _clips(*lengths: int) -> Split:
    """Clips whose every frame is its row's number, in each of its bands with a sign of its own."""
    rows = torch.arange(sum(lengths), dtype=torch.float16)
    frames = rows.unsqueeze(1) * torch.tensor([1.0, -1.0, 2.0], dtype=torch.float16)
    counts = torch.tensor(lengths)
    clips = torch.stack([counts.cumsum(0) - counts, counts], dim=1)
    entry = DatasetEntry("", 2, (1, BANDS, WIDTH), len(lengths), 0, 0, mean=(0.0,), std=(1.0,))
    return Split(frames, torch.arange(len(lengths)), "checksum", entry, clips)


def _starts(images: Tensor) -> list[int]:
    """The row at which each window begins; every window is W rows that follow one another."""
    assert images.shape[1:] == (1, BANDS, WIDTH)
    assert images.dtype == torch.float32
    starts = images[:, 0, 0, 0]
    rows = starts.view(-1, 1) + torch.arange(WIDTH)
    assert torch.equal(images[:, 0], torch.stack([rows, -rows, 2 * rows], dim=1))
    return [int(start) for start in starts]


lengths_of_clips = st.lists(st.integers(WIDTH, 30), min_size=2, max_size=25)


@settings(deadline=None, max_examples=40)
@given(lengths_of_clips, st.integers(2, 9), st.integers(0, 5))
def test_training_windows_lie_within_their_own_clips(lengths: list[int], size: int, seed: int) -> None:
    """The draws are those of one generator, in the order: permutation, shifts, places."""
    split, generator = _clips(*lengths), torch.Generator().manual_seed(seed)
    order = torch.randperm(len(lengths), generator=generator)
    assert split.clips is not None
    for step, batch in enumerate(training_batches(split, size, seed, augment=True)):
        index = order[step * size : (step + 1) * size]
        torch.randint(1, (2, len(index)), generator=generator)
        places = torch.rand(len(index), generator=generator)
        assert batch.labels.tolist() == index.tolist()
        assert batch.owner is None
        for start, label, place in zip(_starts(batch.images), index.tolist(), places.tolist(), strict=True):
            first, count = split.clips[label].tolist()
            assert start == first + int(place * (count - WIDTH + 1))
            assert first <= start <= first + count - WIDTH


def test_training_windows_reach_every_place_of_a_clip() -> None:
    """From its first frame to its last, all alike; a clip of one window has that one."""
    split = _clips(*[WIDTH + 3] * 4000, WIDTH)
    split = replace(split, clips=torch.tensor([[0, WIDTH + 3]] * 4000 + [[WIDTH + 3, WIDTH]]))
    seen: Counter[int] = Counter()
    for batch in training_batches(split, 500, 0, augment=True):
        for start, label in zip(_starts(batch.images), batch.labels.tolist(), strict=True):
            assert label < 4000 or start == WIDTH + 3
            seen[start] += label < 4000
    # each of four about 1,000 times (standard deviation 27)
    assert {start for start, count in seen.items() if count} == {0, 1, 2, 3}
    assert all(850 < seen[start] < 1150 for start in range(4))


def test_training_windows_follow_the_seed() -> None:
    split = _clips(*range(WIDTH, WIDTH + 40))

    def windows(seed: int, *, augment: bool = True) -> dict[int, int]:
        return {
            label: start
            for batch in training_batches(split, 8, seed, augment=augment)
            for label, start in zip(batch.labels.tolist(), _starts(batch.images), strict=True)
        }

    assert windows(1) == windows(1)
    assert windows(1) != windows(2)
    assert split.clips is not None
    assert windows(1, augment=False) == dict(enumerate(split.clips[:, 0].tolist()))


def test_ranks_share_one_ranks_windows() -> None:
    split = _clips(*range(WIDTH, WIDTH + 21))
    alone = list(training_batches(split, 6, 4, augment=True))
    shards = [list(training_batches(split, 6, 4, augment=True, rank=rank, world_size=2)) for rank in range(2)]
    assert [len(shard) for shard in shards] == [3, 3]  # the three clips left are too few for two ranks
    for whole, *parts in zip(alone, *shards, strict=False):
        for rank, part in enumerate(parts):
            assert torch.equal(part.labels, whole.labels[rank::2])
            assert torch.equal(part.images, whole.images[rank::2])
            assert part.share == 1


@settings(deadline=None, max_examples=60)
@given(lengths_of_clips, st.integers(1, 12), st.integers(1, 3))
def test_evaluation_windows_against_a_loop(lengths: list[int], size: int, ranks: int) -> None:
    """All that fit side by side, W − 1 steps apart, each with its clip; every clip on one rank, in one batch."""
    split, found = _clips(*lengths), dict[int, list[int]]()
    most = max(1 + (length - WIDTH) // (WIDTH - 1) for length in lengths)
    for rank in range(ranks):
        before = -1
        for batch in evaluation_batches(split, size, rank, ranks):
            assert batch.owner is not None
            assert len(batch.images) == len(batch.owner) <= max(size, most)
            assert batch.labels.tolist()[0] > before
            before = batch.labels.tolist()[-1]
            assert sorted(set(batch.owner.tolist())) == list(range(len(batch.labels)))
            owners = [int(batch.labels[owner]) for owner in batch.owner]
            assert not set(owners) & found.keys()
            for owner, start in zip(owners, _starts(batch.images), strict=True):
                found.setdefault(owner, []).append(start)
    first, expected = 0, {}
    for label, length in enumerate(lengths):
        windows, start = [], first
        while start + WIDTH <= first + length:
            windows.append(start)
            start += WIDTH - 1
        expected[label] = windows
        first += length
    assert found == expected
