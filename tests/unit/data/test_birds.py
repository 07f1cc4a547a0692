"""The bird sets: tables, the split of each set, and whole clips."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from topotune.data import PARTS
from topotune.data.batches import evaluation_batches, training_batches
from topotune.data.birds import HEADER, OFFICIAL, BirdDCASE
from topotune.data.splits import forget_splits, load_split
from topotune.errors import InputError

Rows = list[tuple[str, str, str]]
Make = Callable[..., Rows]


def _write(path: Path, rows: Rows, end: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(row) for row in [HEADER, *rows]) + "\n" + end)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a set of short clips, its table in its own folder or with the others'; gives its rows."""

    def make(name: str, count: int, shared: bool = False, seconds: float = 1) -> Rows:
        home = tmp_path / "BirdDCASE"
        (home / name / "wav").mkdir(parents=True)
        rows = [(f"{name}-{number}", name, str(number % 2)) for number in range(count)]
        for number, (item, _, _) in enumerate(rows):
            wave = 0.1 * np.sin(np.arange(round(8000 * seconds)) * (number + 1) / 50)
            soundfile.write(home / name / "wav" / f"{item}.wav", wave, 8000)
        _write(home / ("labels" if shared else name) / f"{name}.csv", rows)
        return rows

    return make


def _items(root: Path, part: str) -> list[str]:
    return [path.stem for path in BirdDCASE().files(root, part) if path.suffix == ".wav"]


def test_a_set_is_split_in_tenths(make: Make, tmp_path: Path) -> None:
    make("a", 40)
    parts = [_items(tmp_path, part) for part in PARTS]
    assert [len(part) for part in parts] == [32, 4, 4]
    assert sorted(item for part in parts for item in part) == sorted(f"a-{number}" for number in range(40))
    assert parts == [_items(tmp_path, part) for part in PARTS]
    assert all(part == sorted(part) for part in parts)
    assert [sorted(int(item[2:]) for item in part) for part in parts[1:]] == [[3, 5, 11, 29], [2, 4, 20, 39]]


@pytest.mark.parametrize(("count", "sizes"), [(3, [1, 1, 1]), (10, [8, 1, 1]), (14, [12, 1, 1]), (26, [20, 3, 3])])
def test_small_sets_have_one_of_each(count: int, sizes: list[int], make: Make, tmp_path: Path) -> None:
    make("a", count)
    assert [len(_items(tmp_path, part)) for part in PARTS] == sizes


def test_two_clips_are_no_set(make: Make, tmp_path: Path) -> None:
    make("a", 2)
    with pytest.raises(InputError, match="has 2 clips of a; 3 at least"):
        BirdDCASE().files(tmp_path, "train")


def test_each_set_is_split_apart(make: Make, tmp_path: Path) -> None:
    """Another set beside it moves no clip of a set to another part."""
    make("a", 30)
    alone = [_items(tmp_path, part) for part in PARTS]
    make("b", 20, shared=True)
    make("c", 10, shared=True)
    for part, of_a, sizes in zip(PARTS, alone, ([24, 16, 8], [3, 2, 1], [3, 2, 1]), strict=True):
        items = _items(tmp_path, part)
        assert items[: len(of_a)] == of_a
        assert [sum(item.startswith(name) for item in items) for name in "abc"] == sizes


def test_the_order_of_a_table_changes_nothing(make: Make, tmp_path: Path) -> None:
    rows = make("a", 30)
    before = [_items(tmp_path, part) for part in PARTS]
    _write(tmp_path / "BirdDCASE/a/a.csv", rows[::-1])
    assert [_items(tmp_path, part) for part in PARTS] == before


def test_official_tables_split_into_the_official_sizes(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """35,690 clips, which need not be there for that."""
    home = tmp_path / "BirdDCASE"
    shutil.copytree(real_data / "BirdDCASE" / "labels", home / "labels")
    counts = {"BirdVox-DCASE-20k": 0, "ff1010bird": 0, "warblrb10k": 0}
    for path in (home / "labels").iterdir():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                counts[row["datasetid"]] += 1
                if counts[row["datasetid"]] == 1:
                    wav = home / row["datasetid"] / "wav"
                    wav.mkdir(parents=True)
                    (wav / f"{row['itemid']}.wav").touch()
    assert list(counts) == list(OFFICIAL)
    lost = {}
    monkeypatch.setattr(
        "topotune.data.birds.write_spectrograms",
        lambda out, clips, missing: lost.update({out.name: len(clips) + len(missing)}) or {"notes": {}},
    )
    for part in PARTS:
        BirdDCASE().prepare(tmp_path, part, Path(part))
    assert lost == {"train": 28552, "validation": 3569, "test": 3569}


def test_labels_are_those_of_the_table(make: Make, tmp_path: Path) -> None:
    labels = {item: int(hasbird) for item, _, hasbird in make("a", 12) + make("b", 15, shared=True)}
    for part in PARTS:
        split = load_split("birddcase", part, tmp_path)
        assert split.labels.tolist() == [labels[item] for item in _items(tmp_path, part)]
        assert split.notes == {"resampled": len(split)}


def test_whole_clips_are_kept_and_short_ones_padded(make: Make, tmp_path: Path) -> None:
    make("a", 8, seconds=2.5)
    make("b", 8, seconds=0.3)
    split = load_split("birddcase", "train", tmp_path)
    assert split.clips is not None
    assert split.clips[:, 1].tolist() == [251] * 6 + [101] * 6
    assert split.notes == {"padded": 6, "resampled": 12}
    (batch,) = evaluation_batches(split)
    assert batch.owner is not None
    assert torch.bincount(batch.owner).tolist() == [2] * 6 + [1] * 6


@pytest.mark.parametrize("value", ["2", "", "-1", "yes", "1.0", " 1"])
def test_another_label_is_an_error(value: str, make: Make, tmp_path: Path) -> None:
    rows = make("a", 10)
    rows[4] = (*rows[4][:2], value)
    _write(path := tmp_path / "BirdDCASE/a/a.csv", rows)
    with pytest.raises(InputError) as error:
        BirdDCASE().files(tmp_path, "train")
    assert str(error.value) == f"{path}, line 6: hasbird is {value!r}; it should be 0 or 1"


def test_an_item_stands_once(make: Make, tmp_path: Path) -> None:
    rows = make("a", 10)
    _write(tmp_path / "BirdDCASE/a/a.csv", [*rows, rows[3]])
    with pytest.raises(InputError, match=r"a\.csv, line 12: itemid 'a-3' stands there twice; it should once"):
        BirdDCASE().files(tmp_path, "train")


@pytest.mark.parametrize(("end", "cells"), [("a-10", 1), ("a-10,a", 2), ("a-10,a,1,1", 4)])
def test_a_row_cut_short_is_an_error(end: str, cells: int, make: Make, tmp_path: Path) -> None:
    rows = make("a", 10)
    _write(tmp_path / "BirdDCASE/a/a.csv", rows, end)
    with pytest.raises(InputError, match=rf"a\.csv, line 12: {cells} of 3 cells; the file is damaged"):
        BirdDCASE().files(tmp_path, "train")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'itemid,datasetid,hasbird\na-0,"a'])
def test_a_table_that_is_no_csv_is_an_error(content: bytes, make: Make, tmp_path: Path) -> None:
    make("a", 10)
    (tmp_path / "BirdDCASE/a/a.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.csv cannot be read"):
        BirdDCASE().files(tmp_path, "train")


def test_a_set_has_one_table(make: Make, tmp_path: Path) -> None:
    rows = make("a", 10)
    home = tmp_path / "BirdDCASE"
    (home / "a" / "licences.csv").write_text("itemid,licence\na-0,CC0\n")
    BirdDCASE().files(tmp_path, "train")
    _write(home / "a" / "b.csv", rows)
    with pytest.raises(InputError, match=r"a needs one table, .* found: \S*a\.csv, \S*b\.csv"):
        BirdDCASE().files(tmp_path, "train")
    for name in "ab":
        (home / "a" / f"{name}.csv").unlink()
    _write(home / "labels" / "others.csv", [("x", "another", "1")])
    with pytest.raises(InputError, match=r"with datasetid 'a', in \S*labels; found: none"):
        BirdDCASE().files(tmp_path, "train")


def test_a_row_in_a_hundred_may_have_no_clip(make: Make, tmp_path: Path) -> None:
    make("a", 125)
    before = {part: _items(tmp_path, part) for part in PARTS}
    wav = tmp_path / "BirdDCASE/a/wav"
    (wav / f"{before['train'][5]}.wav").unlink()
    assert {part: _items(tmp_path, part) for part in PARTS} == before | {
        "train": before["train"][:5] + before["train"][6:]
    }
    split = load_split("birddcase", "train", tmp_path)
    assert (len(split), split.notes) == (100, {"missing": 1, "resampled": 100})
    (wav / f"{before['train'][7]}.wav").unlink()
    forget_splits()
    with pytest.raises(InputError, match=r"^2 of 101 clips cannot be used \(2 missing\)"):
        load_split("birddcase", "train", tmp_path)


def test_a_clip_without_a_row_is_left_out(make: Make, tmp_path: Path) -> None:
    make("a", 10)
    before = load_split("birddcase", "train", tmp_path)
    soundfile.write(tmp_path / "BirdDCASE/a/wav/stray.wav", np.ones(16000) * 0.1, 16000)
    forget_splits()
    split = load_split("birddcase", "train", tmp_path)
    assert split.notes == before.notes | {"unlabelled": 1}
    assert split.checksum == before.checksum
    assert load_split("birddcase", "test", tmp_path).notes == {"resampled": 1}


def test_clips_of_another_table_are_an_error(make: Make, tmp_path: Path) -> None:
    make("a", 10)
    _write(tmp_path / "BirdDCASE/a/a.csv", [(f"b-{number}", "b", "1") for number in range(10)])
    with pytest.raises(InputError, match=r"wav has no clip <itemid>\.wav of those in"):
        BirdDCASE().files(tmp_path, "train")


@pytest.mark.parametrize("method", ["files", "fetch"])
def test_without_a_set_it_is_said_where_they_are(method: str, tmp_path: Path) -> None:
    words = ("train",) if method == "files" else ()
    with pytest.raises(InputError, match="dataset 'birddcase' needs the folder that holds it: --data FOLDER"):
        getattr(BirdDCASE(), method)(None, *words)
    (tmp_path / "BirdDCASE" / "labels").mkdir(parents=True)
    with pytest.raises(InputError, match=r"has no set of clips; https://dcase\.community/challenge2018/") as error:
        getattr(BirdDCASE(), method)(tmp_path, *words)
    assert all(name in str(error.value) for name in OFFICIAL)


def test_fetch_is_content_with_one_set(make: Make, tmp_path: Path) -> None:
    make("a", 10)
    BirdDCASE().fetch(tmp_path)


def test_real_clips_from_files_to_batches(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 clips of 5 s at 44.1 kHz: 8, 1 and 1."""
    splits = {part: load_split("birddcase", part, real_data) for part in PARTS}
    for part, count in (("train", 8), ("validation", 1), ("test", 1)):
        split = splits[part]
        assert split.clips is not None
        assert (split.images.shape, split.images.dtype) == ((501 * count, 64), torch.float16)
        assert split.clips[:, 1].tolist() == [501] * count
        assert split.notes == {"resampled": count}
        assert (split.entry.mean, split.entry.std) == (splits["train"].entry.mean, splits["train"].entry.std)
        (batch,) = evaluation_batches(split)
        assert batch.images.shape == (5 * count, 1, 64, 101)
        assert batch.owner is not None
        assert batch.owner.tolist() == [clip for clip in range(count) for _ in range(5)]
    (evaluated,) = evaluation_batches(splits["train"])
    assert float(evaluated.images.double().mean()) == pytest.approx(0, abs=0.05)  # windows share their outermost frames
    assert float(evaluated.images.double().std()) == pytest.approx(1, abs=0.05)
    (batch,) = training_batches(splits["train"], 8, 0, augment=True)
    assert batch.images.shape == (8, 1, 64, 101)
    checksums = [split.checksum for split in splits.values()]
    forget_splits()
    monkeypatch.setenv("TOPOTUNE_CACHE", str(tmp_path))
    assert [load_split("birddcase", part, real_data).checksum for part in PARTS] == checksums
