"""How quick pruning is: images a second of many cuts over those of as many plain evaluations.

    python -m tests.benchmarks.pruning --model resnet18 --images 1000 --proportions 5 [--precision bfloat16]

ResNet-18 with random weights on random 32x32 images, all criteria one after the other, as a curve is measured.
With --images 10000 --proportions 101 it is a whole curve of each. The plain evaluations come before and after.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from topotune.config import TrialConfig
from topotune.data import DATASETS
from topotune.data.splits import Split
from topotune.files import write_json
from topotune.followup.pruning import Cut, Subject
from topotune.models.topographic import build_model
from topotune.training import CONFIG
from topotune.training.checkpoint import save_weights

CRITERIA = ("l2", "l1", "neighbour")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--proportions", type=int, default=101)
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    config = TrialConfig(dataset="cifar10", model=options.model, precision=options.precision)
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (options.images, 3, 32, 32), dtype=torch.uint8, generator=draw)
    labels = torch.randint(10, (options.images,), generator=draw)
    with TemporaryDirectory() as name:
        write_json(Path(name) / CONFIG, config.to_dict())
        save_weights(Path(name), build_model(options.model, 3, 10), config, 3, 10)
        subject = Subject(Path(name))
        split = Split(pixels, labels, "", DATASETS["cifar10"]).to(subject.precision.device)
        before = _plain(subject, split, options.proportions)
        pruned = _pruned(subject, split, options.proportions)
        after = _plain(subject, split, options.proportions)
    plain = (before + after) / 2
    print(
        f"plain evaluation: {before:.0f} and {after:.0f} images a second; pruned: {pruned:.0f} ({pruned / plain:.3f})"
    )


def _plain(subject: Subject, split: Split, many: int) -> float:
    subject.accuracy(split)
    started = time.perf_counter()
    for _ in range(many):
        subject.accuracy(split)
    return many * len(split) / (time.perf_counter() - started)


def _pruned(subject: Subject, split: Split, many: int) -> float:
    started = time.perf_counter()
    masked = subject.masked("topographic", split)
    for criterion in CRITERIA:
        for step in range(many):
            masked.accuracy(subject.channels(Cut(step / max(many - 1, 1), criterion)))
    return len(CRITERIA) * many * len(split) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
