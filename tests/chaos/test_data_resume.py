"""Every kind of data: a run killed at any moment within an epoch goes on to the bits of one that nothing disturbed."""

import random
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import topotune
from tests.conftest import Cli
from tests.integration.support import line_count, rows, same_weights, wait_for
from topotune.data.images import CIFAR100
from topotune.data.splits import load_split

pytestmark = pytest.mark.slow

EPOCHS = 3
CASES: dict[str, tuple[str, int]] = {  # the network, and its batch
    "digits": ("small_cnn", 16),
    "mnist": ("mnist_cnn", 60),
    "cifar10": ("cifar_cnn", 60),
    "cifar100": ("cifar_cnn", 60),
    "speechcommands": ("small_cnn", 10),
    "birddcase": ("small_cnn", 2),
    "own.npz": ("cifar_cnn", 16),
    "own/": ("cifar_cnn", 16),
}
SAMPLES = {"mnist": 900, "cifar10": 400, "cifar100": 450}  # of sets too large for this: so many, as a user's own
OWN = 400

Arrays = dict[str, np.ndarray]


def own_arrays(size: tuple[int, ...], samples: int) -> Arrays:
    """Images of classes that differ in their brightness."""
    random_numbers, labels = np.random.default_rng(0), np.arange(samples) % 5
    images = random_numbers.integers(0, 150, (samples, *size)) + 25 * labels.reshape(-1, *[1] * len(size))
    images = images.astype(np.uint8)
    return {
        "train_images": images, "train_labels": labels, "test_images": images[:20], "test_labels": labels[:20],
    }  # fmt: skip


def cut(real: Path, name: str) -> Arrays:
    """The first samples of a real set."""
    images, labels = official(real, name)
    count = SAMPLES[name]
    return {
        "train_images": images[:count], "train_labels": labels[:count], "test_images": images[count : count + 50],
        "test_labels": labels[count : count + 50],
    }  # fmt: skip


def official(real: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A real set's training images (N, C, H, W) and labels; of CIFAR-100 there is a part, with checksums of its own."""
    if name == "cifar100":
        path = real / "cifar-100-subset" / "cifar-100-python" / "train"
        if not path.is_file():
            pytest.skip(f"no {path}")
        return CIFAR100.read([path.read_bytes()])
    split = load_split(name, "train", real)
    return split.images.numpy(), split.labels.numpy()


def write_own(data: Path, name: str, arrays: Arrays, padding: int) -> None:
    """``NAME.npz``, or ``NAME/`` with a PNG file an image; and its side file."""
    (data / name).with_suffix(".toml").write_text(f"padding = {padding}\nflip = true\n")
    if not name.endswith("/"):
        np.savez(data / name, **arrays)
        return
    for part in ("train", "test"):
        for index, label in enumerate(arrays[f"{part}_labels"]):
            path = data / name / part / f"kind-{label}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(arrays[f"{part}_images"][index]).save(path)


@pytest.fixture
def words(request: pytest.FixtureRequest, cli: Cli) -> list[str]:
    """The settings of a run on one data set, and where the data are."""
    name: str = request.param
    (model, batch), data = CASES[name], cli.cwd / "data"
    epochs = 12 if name == "birddcase" else EPOCHS  # 8 clips for training
    data.mkdir()
    if name.startswith("own"):
        write_own(data, name, own_arrays((16, 16, 3), OWN), padding=2)
    elif name != "digits":
        real: Path = request.getfixturevalue("real_data")
        if name in SAMPLES:
            write_own(data, f"{name}.npz", cut(real, name), padding=4)
            name = f"{name}.npz"
        else:
            data = real
    settings = {
        "dataset": name, "model": model, "batch_size": batch, "epochs": epochs, "topography": "grid2d", "weight": 0.1,
        "threads": 1, "device": "cpu",
    }  # fmt: skip
    return ["--data", str(data), *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]


@pytest.mark.parametrize("words", CASES, indirect=True)
def test_killed_at_any_moment_a_run_ends_as_undisturbed(words: list[str], cli: Cli) -> None:
    """After some epoch, and at any step of the next one; the moment is told where it fails."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    print(f"the moment of the kill follows from seed {seed}")
    whole = cli("train", "--out", "whole", *words)
    assert whole.returncode == 0, whole.stderr
    told = rows(cli.cwd / "whole" / "metrics.csv")
    metrics, done = cli.cwd / "run" / "metrics.csv", chance.randrange(1, len(told) - 1)
    process = cli.start("train", "--out", "run", *words)
    wait_for(lambda: line_count(metrics) > done, 60, f"{done} epochs", process)
    time.sleep(chance.uniform(0, 0.9) * float(told[done]["seconds"]))
    process.kill()
    process.communicate()
    before = rows(metrics)
    assert not (cli.cwd / "run" / "result.json").exists()
    again = cli("train", "--out", "run", *words)
    assert again.returncode == 0, again.stderr
    after = rows(metrics)
    # the seconds, too: none was trained again but the last, of which there may be no state
    assert after[: len(before) - 1] == before[:-1]
    assert [{**row, "seconds": ""} for row in after] == [{**row, "seconds": ""} for row in told]
    one, other = (topotune.load_checkpoint(cli.cwd / name) for name in ("run", "whole"))
    assert same_weights(one, other)
