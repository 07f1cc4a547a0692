"""Images a second: training as ``fit`` does it, against a plain loop and against the bare step. Needs CIFAR-10.

    python -m tests.benchmarks.training --data DATA [--models resnet18 vgg16 densenet121] [--batch 128] [--steps 8]
                                        [--rounds 3] [--out FILE.json]

plain     as the first paper's code runs: torchvision's transforms sample by sample in two DataLoader workers, float32,
          the channel loss written out, torch's own use of memory
ours      bfloat16 where the device has it, else float32; batches made from memory, the channel loss as it is here
          (grid2d)
control   ours without topography
bare      forward, backward and optimiser of the control on one batch that is there already: its floor

Each runs in a process of its own, one after the other in every round; the ratios are medians over the rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.benchmarks.measure import ratio
from tests.benchmarks.step import DEVICE, DIRECT
from topotune.config import TrialConfig
from topotune.data import DATASETS
from topotune.data.batches import Batch, training_batches
from topotune.data.splits import load_split
from topotune.files import write_json
from topotune.models.topographic import build_model
from topotune.training.arrangement import topography_of
from topotune.training.device import advice
from topotune.training.fit import Run
from topotune.training.loop import train_epoch

WARM = 2  # steps that are not timed
FAST = "float32" if advice("bfloat16", DEVICE) else "bfloat16"  # here


def ours(config: TrialConfig, data: Path, steps: int, bare: bool) -> float:
    """Seconds a step as ``fit`` takes it; on one and the same batch if ``bare``."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config, Path(folder), data)
        batches = training_batches(run.train, config.batch_size, 0, augment=True)
        if bare:
            one = next(batches)
            batches = iter([one] * (WARM + steps))

        def train(count: int) -> None:
            train_epoch(
                run.parallel, islice(batches, count), run.optimizer, run.pull, run.precision, [(0.01, 1.0)] * count
            )

        return _timed(lambda: train(WARM), lambda: train(steps)) / steps


class _Pictures(Dataset[tuple[torch.Tensor, int]]):
    """CIFAR-10 as PIL images through torchvision's transforms, the way torchvision's own class has it."""

    def __init__(self, data: Path) -> None:
        from PIL import Image
        from torchvision import transforms

        split, entry = load_split("cifar10", "train", data), DATASETS["cifar10"]
        self.arrays, self.labels = split.images.permute(0, 2, 3, 1).numpy(), split.labels.tolist()
        self.picture = Image.fromarray
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(entry.mean, entry.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.picture(self.arrays[index])), self.labels[index]


def plain(config: TrialConfig, data: Path, steps: int) -> float:
    """Seconds a step of a loop as one writes it."""
    torch.manual_seed(0)
    model = build_model(config.model, 3, 10).to(DEVICE).train()
    topography = topography_of(config, model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.01)
    loader = DataLoader(_Pictures(data), config.batch_size, shuffle=True, num_workers=2, drop_last=True)
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]] = iter(loader)

    def train(count: int) -> None:
        for images, labels in islice(batches, count):
            batch = Batch(images.to(DEVICE), labels.to(DEVICE))
            with topography:
                logits = model(batch.images)
            loss = F.cross_entropy(logits, batch.labels) + topography.loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()  # to be printed

    return _timed(lambda: train(WARM), lambda: train(steps)) / steps


def _timed(warm: object, work: object) -> float:
    assert callable(warm)
    assert callable(work)
    warm()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(kind: str, model: str, options: argparse.Namespace) -> float:
    """Seconds a step of one kind, in this process."""
    base = TrialConfig(dataset="cifar10", model=model, batch_size=options.batch, precision=options.precision)
    topographic = base.replace(topography="grid2d", weight=0.1)
    if kind == "plain":
        return plain(topographic.replace(precision="float32", loss=DIRECT), options.data, options.steps)
    config = topographic if kind == "ours" else base
    return ours(config, options.data, options.steps, bare=kind == "bare")


KINDS = ("plain", "ours", "control", "bare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["resnet18", "vgg16", "densenet121"])
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default=FAST, help="of ours; default: %(default)s"
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)  # for the processes of this one
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.kind:
        print(json.dumps(measure(options.kind, options.models[0], options)))
        return
    print(f"batch {options.batch}, {options.precision}, {DEVICE}, {torch.get_num_threads()} threads; images a second")
    print(f"{'model':12} " + " ".join(f"{kind:>8}" for kind in KINDS) + "  ours/plain  over the bare step")
    rows = []
    for model in options.models:
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind in KINDS:
                words = ["--data", options.data, "--models", model, "--batch", options.batch, "--steps", options.steps]
                words += ["--precision", options.precision]
                command = [sys.executable, "-m", "tests.benchmarks.training", "--kind", kind, *map(str, words)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
                found[kind].append(json.loads(done.stdout.splitlines()[-1]))
        rates = {kind: options.batch / statistics.median(seconds) for kind, seconds in found.items()}
        faster, over = ratio(found["plain"], found["ours"]), ratio(found["control"], found["bare"]) - 1
        rows.append({"model": model, "images_a_second": rates, "ours_to_plain": faster, "over_the_bare_step": over})
        print(
            f"{model:12} " + " ".join(f"{rates[kind]:8.1f}" for kind in KINDS) + f"  {faster:10.2f}  {over:18.1%}",
            flush=True,
        )
    if options.out:
        write_json(
            options.out,
            {"batch": options.batch, "precision": options.precision, "device": str(DEVICE), "training": rows},
        )


if __name__ == "__main__":
    main()
