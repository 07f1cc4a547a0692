"""Every kind of data: a run killed at any moment within an epoch goes on to the bits of one that nothing disturbed."""

import random
import time
from pathlib import Path

import numpy as np
import pytest

import topotune
from tests.conftest import Cli
from tests.integration.support import line_count, rows, same_weights, wait_for

pytestmark = pytest.mark.slow

EPOCHS = 3
CASES: dict[str, tuple[str, int]] = {  # the network, and its batch
    "digits": ("small_cnn", 16),
    "mnist": ("mnist_cnn", 60),
    "cifar10": ("cifar_cnn", 60),
    "speechcommands": ("small_cnn", 10),
    "birddcase": ("small_cnn", 2),
    "own.npz": ("cifar_cnn", 16),
}
SAMPLES = {"mnist": 900, "cifar10": 400}  # of sets that are too large for this: so many, as a user's own
OWN = 400


def own_arrays(size: tuple[int, ...], samples: int) -> dict[str, np.ndarray]:
    """Images of classes that differ in their brightness."""
    random_numbers, labels = np.random.default_rng(0), np.arange(samples) % 5
    images = random_numbers.integers(0, 150, (samples, *size)) + 25 * labels.reshape(-1, *[1] * len(size))
    images = images.astype(np.uint8)
    return {
        "train_images": images, "train_labels": labels, "test_images": images[:20], "test_labels": labels[:20],
    }  # fmt: skip


def cut(real: Path, name: str, root: Path) -> str:
    """The first samples of a real set as ``NAME.npz`` in ``root``; its name there."""
    from topotune.data.splits import load_split

    split, count = load_split(name, "train", real), SAMPLES[name]
    images = split.images[: count + 50].permute(0, 2, 3, 1).numpy()
    images, labels = images[..., 0] if images.shape[3] == 1 else images, split.labels[: count + 50].numpy()
    np.savez(
        root / f"{name}.npz", train_images=images[:count], train_labels=labels[:count], test_images=images[count:],
        test_labels=labels[count:],
    )  # fmt: skip
    return f"{name}.npz"


@pytest.fixture
def words(request: pytest.FixtureRequest, cli: Cli) -> list[str]:
    """The settings of a run on one data set, and where the data are."""
    name: str = request.param
    (model, batch), data = CASES[name], cli.cwd / "data"
    epochs = 12 if name == "birddcase" else EPOCHS  # 8 clips for training
    data.mkdir()
    if name == "own.npz":
        np.savez(data / "own.npz", **own_arrays((16, 16, 3), OWN))
        (data / "own.toml").write_text("padding = 2\nflip = true\n")
    elif name != "digits":
        real: Path = request.getfixturevalue("real_data")
        if name in SAMPLES:
            name = cut(real, name, data)
            (data / name.replace(".npz", ".toml")).write_text("padding = 4\nflip = true\n")
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
