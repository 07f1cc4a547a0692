"""What is there of a data set."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from topotune.data import DATASETS
from topotune.data.check import check, fetch
from topotune.data.images import MNIST
from topotune.data.splits import load_split
from topotune.errors import InputError
from topotune.show import data_text

TRAIN, TEST = 10, 4


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """MNIST of 14 images, with checksums of their own: the content of each file by its name."""
    contents = {}
    for word, count in (("train", TRAIN), ("t10k", TEST)):
        contents[f"{word}-images-idx3-ubyte"] = bytes(16) + np.random.default_rng(0).bytes(count * 784)
        contents[f"{word}-labels-idx1-ubyte"] = bytes(8) + bytes(number % 10 for number in range(count))
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(MNIST, "checksums", sums)
    monkeypatch.setattr(MNIST, "train", 8)
    monkeypatch.setitem(DATASETS, "mnist", replace(DATASETS["mnist"], train=8, validation=2, test=TEST))
    return contents


def _write(root: Path, contents: dict[str, bytes]) -> Path:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_embedded_digits_are_whole() -> None:
    found = check("digits", None)
    assert (found["state"], found["problem"]) == ("whole", None)
    assert found["samples"] == found["official"] == {"train": 1077, "validation": 360, "test": 360}
    assert found["train_per_class"] == load_split("digits", "train").labels.bincount().tolist()
    assert (found["classes"], found["shape"], found["files"], found["bytes"]) == (10, [1, 8, 8], 0, 0)
    assert found["checksums"] is None
    for part, path in found["prepared"].items():
        assert Path(path).name.startswith(f"digits-{part}-")
        assert (Path(path) / "images.npy").is_file()
    assert json.loads(json.dumps(found)) == found  # plain values


def test_a_whole_one_on_disk(small_mnist: dict[str, bytes], tmp_path: Path) -> None:
    folder = _write(tmp_path, small_mnist)
    found = check("mnist", tmp_path)
    assert (found["state"], found["problem"], found["checksums"]) == ("whole", None, "right")
    assert (found["folder"], found["files"]) == (str(folder), 4)
    assert found["bytes"] == sum(map(len, small_mnist.values()))
    assert found["samples"] == {"train": 8, "validation": 2, "test": 4}
    assert sum(found["train_per_class"]) == 8
    text = data_text([found])
    assert text.startswith("mnist: whole\n")
    for line in (
        f"  files:     4 in {folder}, {found['bytes']:,} bytes",
        "  checksums: right",
        "  samples:   train 8 of 8, validation 2 of 2, test 4 of 4; 1x28x28 each",
        "  classes:   10, with 0 to 1 training samples each",
        f"  prepared:  {found['prepared']['test']}",
    ):
        assert line in text.splitlines()


def test_fewer_samples_than_the_official_ones(
    small_mnist: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "mnist", replace(DATASETS["mnist"], train=48000))
    _write(tmp_path, small_mnist)
    found = check("mnist", tmp_path)
    assert (found["state"], found["problem"]) == ("partial", None)
    assert "samples:   train 8 of 48,000, validation 2 of 2" in data_text([found])


def test_what_is_absent(small_mnist: dict[str, bytes], tmp_path: Path) -> None:
    found = check("mnist", None)
    assert found["state"] == "absent"
    assert "--data FOLDER" in found["problem"]
    found = check("mnist", tmp_path)
    assert (found["state"], found["problem"]) == ("absent", f"none of its 4 files is in {tmp_path / 'MNIST' / 'raw'}")
    assert found["source"] == "https://ossci-datasets.s3.amazonaws.com/mnist/"
    assert "source:    https://ossci" in data_text([found])
    assert (
        check("own.npz", tmp_path)["state"]
        == check("own/", tmp_path)["state"]
        == check("own/", None)["state"]
        == "absent"
    )
    with pytest.raises(InputError, match="unknown dataset 'imagenet'; choose from digits, mnist"):
        check("imagenet", tmp_path)


def test_what_is_damaged(small_mnist: dict[str, bytes], tmp_path: Path) -> None:
    folder = _write(tmp_path, small_mnist)
    assert check("mnist", tmp_path)["state"] == "whole"
    name = "t10k-images-idx3-ubyte"
    path, stat = folder / name, (folder / name).stat()
    path.write_bytes(bytes(len(small_mnist[name])))
    import os

    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # what was prepared before would be taken for this
    found = check("mnist", tmp_path)
    assert (found["state"], found["checksums"]) == ("damaged", "wrong")
    assert f"{path} ({stat.st_size} bytes) is truncated or altered" in found["problem"]
    path.unlink()
    (folder / "train-labels-idx1-ubyte").unlink()
    found = check("mnist", tmp_path)
    assert (found["state"], found["checksums"], found["files"]) == ("damaged", None, 2)
    assert found["problem"] == f"{path} is missing, and 1 more"
    (tmp_path / "BirdDCASE" / "a" / "wav").mkdir(parents=True)
    (tmp_path / "BirdDCASE" / "a" / "a.csv").write_text("itemid,datasetid,hasbird\na-0,a,7\n")
    found = check("birddcase", tmp_path)
    assert (found["state"], "line 2: hasbird is '7'" in found["problem"]) == ("damaged", True)
    assert check("speechcommands", tmp_path)["state"] == "absent"
    (tmp_path / "SpeechCommands" / "speech_commands_v0.02" / "yes").mkdir(parents=True)
    found = check("speechcommands", tmp_path)
    assert (found["state"], "validation_list.txt is missing" in found["problem"]) == ("damaged", True)
    (tmp_path / "own.npz").write_bytes(b"")
    found = check("own.npz", tmp_path)
    assert found["state"] == "damaged"
    assert str(tmp_path / "own.npz") in found["problem"]


def test_own_data(tmp_path: Path) -> None:
    images, labels = np.zeros((20, 8, 9, 3), np.uint8), np.arange(20) % 2
    np.savez(tmp_path / "own.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    found = check("own.npz", tmp_path)
    assert found["state"] == "whole"
    assert found["samples"] == found["official"] == {"train": 18, "validation": 2, "test": 20}
    assert (found["folder"], found["files"], found["shape"]) == (str(tmp_path), 1, [3, 8, 9])
    fetch("own.npz", tmp_path)  # nothing to do
    labels[0] = 7
    np.savez(tmp_path / "own.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    assert check("own.npz", tmp_path)["state"] == "damaged"


def test_notes_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found = check("digits", None) | {"notes": {"train": {"cut short": 1200, "left out: empty": 3}}}
    lines = data_text([found]).splitlines()
    assert "  note:      1,200 cut short (train)" in lines
    assert "  note:      3 left out: empty (train)" in lines


def test_fetching_makes_the_folder(tmp_path: Path) -> None:
    fetch("digits", tmp_path / "new" / "data")
    assert (tmp_path / "new" / "data").is_dir()
    with pytest.raises(InputError, match="needs the folder that holds it"):
        fetch("mnist", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        fetch("mnist", tmp_path / "file" / "data")
