"""``topotune data``, and a user's own data from the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Cli
from tests.integration.support import one_error

TRAIN = ("--set", "epochs=2", "--set", "batch_size=8", "--set", "threads=1", "--set", "device=cpu")
CLASSES = 3

Array = np.ndarray[Any, Any]


def _images(count: int) -> tuple[Array, Array]:
    """Images (N, 8, 9, 3) that are bright in one of three stripes, by their class."""
    labels = np.arange(count) % CLASSES
    images = np.random.default_rng(0).integers(0, 60, (count, 8, 9, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 3 * label : 3 * label + 3] += 180
    return images, labels


def write_npz(root: Path) -> None:
    root.mkdir(exist_ok=True)
    made = {}
    for part, count in (("train", 60), ("test", 12)):
        made[f"{part}_images"], made[f"{part}_labels"] = _images(count)
    np.savez(root / "flowers.npz", **made)


def write_folder(root: Path) -> None:
    for part, count in (("train", 60), ("val", 9), ("test", 12)):
        for index, (image, label) in enumerate(zip(*_images(count), strict=True)):
            path = root / "flowers" / part / f"kind-{label}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def test_check_of_the_digits(cli: Cli) -> None:
    done = cli("data", "check", "digits")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("digits: whole\n")
    assert "train 1,077 of 1,077, validation 360 of 360, test 360 of 360; 1x8x8 each" in done.stdout
    (found,) = json.loads(cli("data", "check", "digits", "--json").stdout)
    assert (found["dataset"], found["state"], sum(found["train_per_class"])) == ("digits", "whole", 1077)
    done = cli("data", "fetch", "digits", "--data", "new")
    assert done.returncode == 0, done.stderr
    assert (cli.cwd / "new").is_dir()


def test_check_without_names_lists_what_is_absent(cli: Cli) -> None:
    done = cli("data", "check", TOPOTUNE_DATA=str(cli.cwd))
    assert (done.returncode, done.stderr) == (0, "")
    states = dict(line.split(": ") for line in done.stdout.splitlines() if not line.startswith(" "))
    assert (states.pop("digits"), set(states.values())) == ("whole", {"absent"})
    assert {"mnist", "cifar10", "cifar100"} <= set(states)
    write_npz(cli.cwd)
    write_folder(cli.cwd)
    every = cli("data", "check", "--data", cli.cwd)
    assert every.returncode == 0, every.stderr
    assert [line for line in every.stdout.splitlines() if line.startswith("flowers")] == [
        "flowers.npz: whole", "flowers/: whole",
    ]  # fmt: skip
    one_error(cli("data", "check", "digits", "mnist", "--data", cli.cwd), "mnist is absent: none of its 4 files is in")
    one_error(cli("data", "check", "imagenet"), "unknown dataset 'imagenet'", "NAME.npz or NAME/")


@pytest.mark.parametrize(("name", "write"), [("flowers.npz", write_npz), ("flowers/", write_folder)])
def test_training_on_ones_own_data(name: str, write: Callable[[Path], None], cli: Cli) -> None:
    root = cli.cwd / "data"
    write(root)
    (root / "flowers.toml").write_text("padding = 1\nflip = false\n")
    checked = cli("data", "check", name, "--data", root)
    assert checked.returncode == 0, checked.stderr
    counts = "train 54 of 54, validation 6 of 6" if name == "flowers.npz" else "train 60 of 60, validation 9 of 9"
    assert f"{counts}, test 12 of 12; 3x8x9 each" in checked.stdout
    done = cli(
        "train", "--set", f"dataset={name}", *TRAIN, "--set", "learning_rate=0.1", "--set", "epochs=8",
        "--set", "topography=grid2d", "--set", "weight=0.1", "--data", root, "--out", "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((cli.cwd / "run" / "result.json").read_text())
    assert result["epochs"] == 8
    assert result["validation_accuracy"] > 0.8
    space = cli.cwd / "space.toml"
    space.write_text(f'[fixed]\ndataset = "{name}"\nbatch_size = 10\nepochs = 2\n')
    plan = cli("plan", space, "--data", root, "--json")
    assert plan.returncode == 0, plan.stderr
    assert json.loads(plan.stdout)["steps_per_epoch"] == 6
    one_error(cli("plan", space, "--data", root, "--set", "batch_size=61"), "batch_size = 61 is more than the")
    one_error(cli("plan", space), f"dataset '{name}' needs the folder that holds it: --data FOLDER")


def test_bad_own_data_are_one_line(cli: Cli) -> None:
    root = cli.cwd / "data"
    write_npz(root)
    train = ("train", *TRAIN, "--data", root, "--out", "run", "--set")
    one_error(cli(*train, "dataset=roses.npz"), f"{root / 'roses.npz'} is missing")
    one_error(cli(*train, "dataset=roses/"), f"{root / 'roses'} is missing")
    one_error(cli(*train, "dataset=../flowers.npz"), "unknown dataset '../flowers.npz'", "a name, not a path")
    one_error(cli(*train, f"dataset={root}/flowers.npz"), "a name, not a path")
    one_error(cli(*train, "dataset=flowers.npz", "--set", "model=vgg16"), "at least 32x32 pixels", "has 8x9")
    content = (root / "flowers.npz").read_bytes()
    (root / "flowers.npz").write_bytes(content[:2000])
    one_error(cli(*train, "dataset=flowers.npz"), f"{root / 'flowers.npz'} is damaged")
    one_error(cli("data", "check", "flowers.npz", "--data", root), "flowers.npz is damaged")
    write_folder(root)
    path = root / "flowers" / "train" / "kind-1" / "4.png"
    path.write_bytes(path.read_bytes()[:60])
    one_error(cli(*train, "dataset=flowers/"), f"{path} cannot be read as an image")
    one_error(cli("data", "check", "flowers/", "--data", root), "flowers/ is damaged", str(path))
    assert not (cli.cwd / "run" / "metrics.csv").exists()
