"""A user's own data: an npz file and a folder of images."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from topotune.config import TrialConfig, check_setting, check_size
from topotune.data import DATASETS, PARTS, dataset_entry, is_own
from topotune.data.batches import evaluation_batches, training_batches
from topotune.data.own import mean_and_std
from topotune.data.splits import forget_splits, load_split
from topotune.errors import InputError
from topotune.plan import plan
from topotune.search.checks import check_own_data
from topotune.search.study_file import load_study

COUNTS = {"train": 20, "val": 6, "test": 8}
CLASSES = 3


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    forget_splits()


def arrays(*size: int, parts: tuple[str, ...] = ("train", "test"), **changes: Any) -> dict[str, Any]:
    """Random images of (H, W) or (H, W, C), and labels that go round."""
    random, made = np.random.default_rng(0), {}
    for part in parts:
        made[f"{part}_images"] = random.integers(0, 256, (COUNTS[part], *(size or (8, 9))), np.uint8)
        made[f"{part}_labels"] = np.arange(COUNTS[part]) % CLASSES
    return {name: value for name, value in (made | changes).items() if value is not None}


def npz(root: Path, *size: int, **changes: Any) -> dict[str, Any]:
    """Write root/own.npz."""
    made = arrays(*size, **changes)
    np.savez(root / "own.npz", **made)
    return made


def picture(path: Path, size: tuple[int, int] = (9, 8), mode: str = "RGB", seed: int = 0) -> np.ndarray[Any, Any]:
    """Write an image, of width and height ``size``; its values (H, W) or (H, W, C)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    values = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(values).save(path)
    return values


def tree(root: Path, mode: str = "RGB", parts: tuple[str, ...] = ("train", "test")) -> Path:
    """Write root/own: classes 10, 9 and b, of 5 images for training and 2 in other parts."""
    for part in parts:
        for label, name in enumerate(("10", "9", "b")):
            for number in range(5 if part == "train" else 2):
                picture(root / "own" / part / name / f"{number}.png", mode=mode, seed=100 * label + number)
    return root / "own"


def refused(name: str, root: Path, *needles: str, part: str = "train") -> str:
    """The one line that the data are refused with, when they are described or when they are prepared."""
    forget_splits()
    with pytest.raises(InputError) as error:
        load_split(name, part, root)
    text = str(error.value)
    assert "\n" not in text
    for needle in needles:
        assert needle in text
    return text


def test_names() -> None:
    assert all(map(is_own, ("a.npz", "a/", "a.b.npz", "ä ö.npz", "a.npz/", "-/")))
    paths = ("../a.npz", "/a.npz", "a/b.npz", "a/b/", "/", "../", "./", "a\\b.npz", "C:\\a.npz", "a//", "\0.npz")
    assert not any(map(is_own, (*paths, ".npz", "", "a", "digits", "a.npy", "a\n.npz")))
    for path in paths:
        with pytest.raises(
            InputError, match=r"unknown dataset .*NAME\.npz or NAME/ within the data folder \(a name, no"
        ):
            check_setting("dataset", path)
        with pytest.raises(InputError, match="unknown dataset"):
            dataset_entry(path, Path("/"))
    assert TrialConfig(dataset="a.npz").hash != TrialConfig(dataset="b.npz").hash != TrialConfig().hash
    assert dataset_entry("digits", None) is DATASETS["digits"]


@pytest.mark.parametrize("size", [(8, 9), (8, 9, 1), (8, 9, 3), (8, 9, 4), (1, 8, 9), (3, 8, 9), (3, 9, 3)])
def test_an_npz_in_every_layout(size: tuple[int, ...], tmp_path: Path) -> None:
    made = npz(tmp_path, *size)
    split = load_split("own.npz", "test", tmp_path)
    images = torch.from_numpy(made["test_images"])
    if len(size) == 2:
        expected = images.unsqueeze(1)
    elif size[2] in (1, 3, 4):
        expected = images.permute(0, 3, 1, 2)
    else:
        expected = images
    assert torch.equal(split.images, expected)
    assert split.images.is_contiguous()
    assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
    assert split.labels.tolist() == made["test_labels"].tolist()
    entry = dataset_entry("own.npz", tmp_path)
    assert (entry.shape, entry.classes) == (tuple(expected.shape[1:]), CLASSES)
    assert (split.entry.shape, split.entry.classes) == (entry.shape, entry.classes)


@pytest.mark.parametrize("word", ["validation", "val"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_with_a_validation_part(word: str, save: Callable[..., None], tmp_path: Path) -> None:
    made = arrays(parts=("train", "val", "test"), extra=np.zeros(3))
    made = {name.replace("val", word): value for name, value in made.items()}
    save(tmp_path / "own.npz", **made)
    entry = dataset_entry("own.npz", tmp_path)
    assert (entry.train, entry.validation, entry.test) == (20, 6, 8)
    for part, key in (("train", "train"), ("validation", word), ("test", "test")):
        assert torch.equal(load_split("own.npz", part, tmp_path).images[:, 0], torch.from_numpy(made[f"{key}_images"]))


def test_a_tenth_of_the_training_part_is_drawn_where_there_is_no_validation_part(tmp_path: Path) -> None:
    made = npz(tmp_path, train_labels=np.arange(20)[:, None] % CLASSES)
    entry = dataset_entry("own.npz", tmp_path)
    assert (entry.train, entry.validation, entry.test) == (18, 2, 8)
    parts = [load_split("own.npz", part, tmp_path) for part in ("train", "validation")]
    assert [len(part) for part in parts] == [18, 2]
    found = {
        (image.numpy().tobytes(), int(y)) for part in parts for image, y in zip(part.images, part.labels, strict=True)
    }
    assert found == {(image.tobytes(), i % CLASSES) for i, image in enumerate(made["train_images"])}


def test_normalisation_is_the_training_parts(tmp_path: Path) -> None:
    made = npz(tmp_path, 8, 9, 3, parts=("train", "val", "test"))
    made["train_images"][..., 1] = 51  # constant
    np.savez(tmp_path / "own.npz", **made)
    pixels = made["train_images"].astype(np.float64) / 255
    for part in PARTS:
        entry = load_split("own.npz", part, tmp_path).entry
        np.testing.assert_allclose(entry.mean, pixels.mean((0, 1, 2)), rtol=1e-12)
        np.testing.assert_allclose(entry.std, [pixels[..., 0].std(), 1.0, pixels[..., 2].std()], rtol=1e-12)
    (batch,) = evaluation_batches(load_split("own.npz", "train", tmp_path))
    torch.testing.assert_close(batch.images.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(batch.images[:, 0].std(correction=0), torch.tensor(1.0))


def test_mean_and_std_by_hand() -> None:
    images = np.zeros((300, 2, 1, 2), np.uint8)  # more than are counted at once
    images[:, 0, 0, 0] = 255
    images[:, 1] = 255
    assert mean_and_std(images) == {"mean": [0.5, 1.0], "std": [0.5, 1.0]}


def test_the_side_file(tmp_path: Path) -> None:
    npz(tmp_path)
    assert (dataset_entry("own.npz", tmp_path).padding, dataset_entry("own.npz", tmp_path).flip) == (0, False)
    (tmp_path / "own.toml").write_text("padding = 2\nflip = true\n")
    split = load_split("own.npz", "train", tmp_path)
    assert (split.entry.padding, split.entry.flip) == (2, True)
    crops = next(iter(training_batches(split, 18, 0, augment=True))).images
    assert crops.shape == (18, 1, 8, 9)


WRONG_OPTIONS = {
    "padding = -1": ("padding = -1 must be an integer >= 0",),
    "padding = true": ("padding = True must be an integer >= 0",),
    "padding = 10": ("padding = 10 is more than the images' 9 pixels",),
    "flip = 1": ("flip = 1 must be true or false",),
    "size = 8": ("unknown key 'size'; choose from padding, flip",),
    "pading = 1": ("unknown key 'pading'; choose from padding, flip",),
    "padding 1": ("cannot be read as TOML", "line 1"),
}


@pytest.mark.parametrize("text", WRONG_OPTIONS)
def test_a_wrong_side_file_is_named(text: str, tmp_path: Path) -> None:
    npz(tmp_path)
    (tmp_path / "own.toml").write_text(text)
    refused("own.npz", tmp_path, str(tmp_path / "own.toml"), *WRONG_OPTIONS[text])


def test_a_folders_side_file_may_have_a_size(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "own.toml").write_text("pading = 1")
    refused("own/", tmp_path, f"{tmp_path / 'own.toml'}: unknown key 'pading'; choose from padding, flip, size")


WRONG_ARRAYS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no test images": ({"test_images": None}, ("array test_images is missing; it holds test_labels, train_images",)),
    "no training labels": ({"train_labels": None}, ("array train_labels is missing",)),
    "no test part": ({"test_images": None, "test_labels": None}, ("array test_images is missing",)),
    "half a validation part": ({"val_labels": np.arange(3)}, ("array val_images is missing",)),
    "two validation parts": (
        {"val_labels": np.arange(3), "validation_labels": np.arange(3)}, ("validation_… and val_… arrays; keep one",),
    ),
    "floats": ({"train_images": np.zeros((20, 8, 9))}, ("train_images are float64; they must be uint8",)),
    "objects": ({"train_images": np.array([None] * 20)}, ("train_images are object; they must be uint8",)),
    "vectors": ({"train_images": np.zeros((20, 72), np.uint8)}, ("train_images have shape (20, 72)", "(N, H, W)")),
    "volumes": ({"train_images": np.zeros((20, 8, 8, 8), np.uint8)}, ("shape (20, 8, 8, 8)", "at most 4 channels")),
    "no images": ({"test_images": np.zeros((0, 8, 9), np.uint8)}, ("test_images of shape (0, 8, 9) hold no image",)),
    "other sizes": ({"test_images": np.zeros((8, 9, 8), np.uint8)}, ("test_images are (C, H, W) = (1, 9, 8)",)),
    "other lengths": ({"test_labels": np.zeros(7, int)}, ("7 test_labels for 8 test_images",)),
    "real labels": ({"train_labels": np.zeros(20)}, ("train_labels are float64 of shape (20,)", "must be integers")),
    "one-hot labels": ({"train_labels": np.zeros((20, 3), int)}, ("int64 of shape (20, 3)", "shape (N,)")),
    "labels that are pickled": ({"train_labels": np.array([None] * 20)}, ("allow_pickle=False",)),
    "negative labels": ({"train_labels": np.arange(20) % 3 - 1}, ("3 numbers from -1 to 1; they must be 0 to K-1",)),
    "a class left out": ({"train_labels": np.arange(20) % 3 * 2}, ("train_labels are 3 numbers from 0 to 4",)),
    "an unknown class": ({"test_labels": np.arange(8)}, ("test_labels are from 0 to 7", "training has 0 to 2")),
    "a negative test label": ({"test_labels": np.arange(8) % 3 - 1}, ("test_labels are from -1 to 1",)),
    "one class": ({"train_labels": np.zeros(20, int)} | {"test_labels": np.zeros(8, int)}, ("one class only",)),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_wrong_arrays_are_named(case: str, tmp_path: Path) -> None:
    changes, needles = WRONG_ARRAYS[case]
    npz(tmp_path, **changes)
    refused("own.npz", tmp_path, str(tmp_path / "own.npz"), *needles)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    npz(tmp_path)
    path = tmp_path / "own.npz"
    whole = path.read_bytes()
    for keep in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        refused("own.npz", tmp_path, f"{path} is damaged")
    flipped = bytearray(whole)
    flipped[500] ^= 1  # a pixel: the checksum in the file is of another
    path.write_bytes(flipped)
    refused("own.npz", tmp_path, f"{path} is damaged", "CRC")
    path.unlink()
    refused("own.npz", tmp_path, f"{path} is missing")
    refused("own.npz", tmp_path / "nowhere", "does not exist")


def test_too_few_to_draw_from(tmp_path: Path) -> None:
    made = arrays()
    made |= {f"train_{kind}": made[f"train_{kind}"][:2] for kind in ("images", "labels")}
    made["test_labels"][:] = 0
    np.savez(tmp_path / "own.npz", **made)
    entry = dataset_entry("own.npz", tmp_path)
    assert (entry.train, entry.validation) == (1, 1)
    assert len(load_split("own.npz", "train", tmp_path)) == len(load_split("own.npz", "validation", tmp_path)) == 1


def test_a_folder(tmp_path: Path) -> None:
    base = tree(tmp_path)
    for stray in (base / "train" / ".DS_Store", base / "train" / "9" / "Thumbs.db", base / "README.txt"):
        stray.write_bytes(b"no image")
    picture(base / "train" / "9" / "z.JPEG")
    entry = dataset_entry("own/", tmp_path)
    assert (entry.train, entry.validation, entry.test) == (14, 2, 6)
    assert (entry.shape, entry.classes) == ((3, 8, 9), 3)
    test = load_split("own/", "test", tmp_path)
    assert test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    for index, (label, number) in enumerate((label, number) for label in range(3) for number in range(2)):
        values = np.asarray(Image.open(base / "test" / ("10", "9", "b")[label] / f"{number}.png"))
        assert np.array_equal(test.images[index].numpy(), values.transpose(2, 0, 1))
    parts = [load_split("own/", part, tmp_path) for part in ("train", "validation")]
    assert [len(part) for part in parts] == [14, 2]
    assert len({image.numpy().tobytes() for part in parts for image in part.images}) == 16
    pixels = parts[0].images.double() / 255
    np.testing.assert_allclose(parts[0].entry.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(test.entry.std, pixels.std((0, 2, 3), correction=0), rtol=1e-12)


@pytest.mark.parametrize("word", ["validation", "val"])
def test_a_folder_with_a_validation_part(word: str, tmp_path: Path) -> None:
    base = tree(tmp_path, parts=("train", word, "test"))
    entry = dataset_entry("own/", tmp_path)
    assert (entry.train, entry.validation, entry.test) == (15, 6, 6)
    (base / word / "9").rename(tmp_path / "away")  # a part need not have all classes
    assert load_split("own/", "validation", tmp_path).labels.tolist() == [0, 0, 2, 2]


def test_grey_only_where_all_training_images_are(tmp_path: Path) -> None:
    base = tree(tmp_path, mode="L")
    picture(base / "test" / "9" / "0.png", mode="RGB")
    for part, count in (("train", 13), ("validation", 2), ("test", 6)):
        split = load_split("own/", part, tmp_path)
        assert tuple(split.images.shape) == (count, 1, 8, 9)
        assert split.entry.shape == (1, 8, 9)
        assert len(split.entry.mean) == 1
    values = picture(base / "train" / "b" / "4.png", mode="RGBA")
    forget_splits()
    for part in PARTS:
        assert load_split("own/", part, tmp_path).entry.shape == (3, 8, 9)
    split = load_split("own/", "train", tmp_path)
    assert any(np.array_equal(image.numpy(), values[..., :3].transpose(2, 0, 1)) for image in split.images)
    assert torch.equal(split.images[0, 0], split.images[0, 2])  # a grey one


def test_images_of_many_sizes_need_a_size(tmp_path: Path) -> None:
    base = tree(tmp_path)
    odd = base / "train" / "b" / "3.png"
    picture(odd, (20, 10))
    text = refused("own/", tmp_path, "has 9x8 pixels", f"{odd} 20x10", f"{tmp_path / 'own.toml'} a line like size = 8")
    assert str(base / "train" / "10" / "0.png") in text
    (tmp_path / "own.toml").write_text("size = 8")
    values = picture(odd, (16, 8), seed=7)
    forget_splits()
    split = load_split("own/", "train", tmp_path)
    assert tuple(split.images.shape) == (13, 3, 8, 8)
    # the shorter side is 8 already, so the middle of the longer one is cut out
    assert any(np.array_equal(image.numpy(), values[:, 4:12].transpose(2, 0, 1)) for image in split.images)
    (tmp_path / "own.toml").write_text("size = 4")
    forget_splits()
    assert dataset_entry("own/", tmp_path).shape == (3, 4, 4)
    assert tuple(load_split("own/", "test", tmp_path).images.shape) == (6, 3, 4, 4)
    (tmp_path / "own.toml").write_text("size = 0")
    refused("own/", tmp_path, "size = 0 must be an integer >= 1")


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _no_image(path: Path) -> None:
    path.write_text("no image")


@pytest.mark.parametrize("damage", [_truncate, _no_image])
@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_an_unreadable_image_is_named(damage: Callable[[Path], None], number: int, ending: str, tmp_path: Path) -> None:
    base = tree(tmp_path)
    path = base / "test" / "10" / f"0{number}.{ending}"
    picture(path, seed=number)
    load_split("own/", "test", tmp_path)
    damage(path)
    refused("own/", tmp_path, f"{path} cannot be read as an image", part="test")


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    base = tree(tmp_path)
    Image.fromarray(np.full((8, 9), 30000, np.uint16)).save(base / "train" / "9" / "0.png")
    refused("own/", tmp_path, str(base / "train" / "9" / "0.png"), "8 bits a channel")


def _remove(path: Path) -> None:
    for one in sorted(path.rglob("*"), reverse=True):
        one.rmdir() if one.is_dir() else one.unlink()
    path.rmdir()


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    base = tree(tmp_path)
    (base / "train" / "empty").mkdir()
    refused("own/", tmp_path, f"{base / 'train' / 'empty'} holds no image")
    (base / "train" / "empty").rmdir()
    (base / "test" / "empty").mkdir()
    refused("own/", tmp_path, f"{base / 'test' / 'empty'}: the training part has no class 'empty'")
    (base / "test" / "empty").rmdir()
    for word in ("val", "validation"):
        (base / word).mkdir()
    refused("own/", tmp_path, f"{base / 'validation'} and {base / 'val'} are both there")
    (base / "val").rmdir()
    refused("own/", tmp_path, f"{base / 'validation'} holds no folders")
    (base / "validation").rmdir()
    for name in ("10", "9"):
        _remove(base / "train" / name)
        _remove(base / "test" / name)
    refused("own/", tmp_path, str(base), "one class only")
    _remove(base / "train" / "b")
    refused("own/", tmp_path, f"{base / 'train'} holds no folders")
    _remove(base / "test")
    refused("own/", tmp_path, f"{base / 'test'} is missing")
    _remove(base)
    refused("own/", tmp_path, f"{base} is missing", "train/CLASS/*.png")
    with pytest.raises(InputError, match=r"dataset 'own/' needs the folder that holds it: --data FOLDER"):
        dataset_entry("own/", None)


def test_another_class_gives_the_test_part_other_labels(tmp_path: Path) -> None:
    base = tree(tmp_path)
    assert load_split("own/", "test", tmp_path).labels.unique().tolist() == [0, 1, 2]
    picture(base / "train" / "11" / "0.png")
    forget_splits()
    assert load_split("own/", "test", tmp_path).labels.unique().tolist() == [0, 2, 3]


def test_a_network_that_is_too_large_and_a_batch_that_is(tmp_path: Path) -> None:
    npz(tmp_path)
    entry = dataset_entry("own.npz", tmp_path)
    check_size("small_cnn", "own.npz", entry)
    with pytest.raises(
        InputError, match=r"'vgg16' needs images of at least 32x32 pixels, but dataset 'own.npz' has 8x9"
    ):
        check_size("vgg16", "own.npz", entry)
    space = tmp_path / "space.toml"
    space.write_text('[fixed]\ndataset = "own.npz"\nbatch_size = 8\n')
    study = load_study(space)
    check_own_data(study, tmp_path)
    assert plan(study, tmp_path)["steps_per_epoch"] == 3  # 18 samples: 8, 8 and 2
    with pytest.raises(InputError, match=r"batch_size = 19 is more than the 18 training images of 'own\.npz'"):
        check_own_data(load_study(space, {"batch_size": 19}), tmp_path)
    with pytest.raises(InputError, match="'vgg16' needs images"):
        check_own_data(load_study(space, {"model": "vgg16"}), tmp_path)
    with pytest.raises(InputError, match="needs the folder"):
        plan(study)


def test_describing_needs_no_torch(tmp_path: Path) -> None:
    npz(tmp_path)
    tree(tmp_path)
    program = (
        "import sys; from pathlib import Path; from topotune.data import dataset_entry\n"
        "for name in ('own.npz', 'own/'): print(dataset_entry(name, Path(sys.argv[1])).train)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["18", "13", "False"], done.stderr
