"""One epoch of ResNet-18 on CIFAR-10 with the formula written out and with ours, from one seed: the same losses.

    python -m tests.benchmarks.curve --data FOLDER [--steps N] [--out FILE.json]

Batch 256, float32, the warm-up and cosine of one epoch up to learning rate 0.01, λ = 0.1. The networks take their
steps side by side on the same batches; printed are the losses of some steps and the largest relative difference so
far. A third network shows what rounding alone does: the formula written out, its weights moved by one part in 10^7.
"""

import argparse
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch

from tests.benchmarks.step import DEVICE, DIRECT
from topotune.config import TrialConfig
from topotune.data import DATASETS, steps_per_epoch
from topotune.data.batches import Batch, derive_seed, training_batches
from topotune.data.splits import load_split
from topotune.files import write_json
from topotune.models.topographic import build_model
from topotune.training.arrangement import topography_of
from topotune.training.device import Precision
from topotune.training.loop import losses
from topotune.training.memory import keep_freed_memory
from topotune.training.schedule import warmup_cosine


def trained(config: TrialConfig, noise: float = 0.0) -> Callable[[Batch, float], tuple[float, float]]:
    """A fresh network that takes one step on each batch at a rate and tells its task and topographic losses."""
    torch.manual_seed(derive_seed(config.seed, "weights"))
    model = build_model(config.model, 3, 10).to(DEVICE).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1 + noise
    topography, precision = topography_of(config, model), Precision(DEVICE, bfloat16=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.learning_rate, momentum=0.9, weight_decay=0.01)

    def step(batch: Batch, rate: float) -> tuple[float, float]:
        optimizer.param_groups[0]["lr"] = rate
        task, topographic = losses(model, batch, topography, precision)
        optimizer.zero_grad(set_to_none=True)
        (task + config.weight * topographic).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return task.item(), topographic.item()

    return step


def _apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(abs(a - b) / abs(a) for a, b in zip(one, other, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="fewer than the epoch has")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    config = TrialConfig(dataset="cifar10", model="resnet18", topography="grid2d", weight=0.1)
    entry, split = DATASETS["cifar10"], load_split("cifar10", "train", options.data)
    batches = training_batches(split, entry, config.batch_size, derive_seed(config.seed, "order", 0), augment=True)
    direct, ours = trained(config.replace(loss=DIRECT)), trained(config)
    moved = trained(config.replace(loss=DIRECT), noise=1e-7)
    whole = steps_per_epoch(len(split), config.batch_size)
    steps, rows, largest, floor = min(options.steps or whole, whole), [], 0.0, 0.0
    print("      written out            ours                   largest difference")
    print(f"{'step':>5} {'task':>10} {'topog.':>10} {'task':>10} {'topog.':>10} {'ours':>9} {'rounding':>9}")
    for number, batch in enumerate(islice(batches, steps), start=1):
        rate = config.learning_rate * warmup_cosine((number - 1) / whole, config.warmup)
        theirs, mine, other = direct(batch, rate), ours(batch, rate), moved(batch, rate)
        largest, floor = max(largest, _apart(theirs, mine)), max(floor, _apart(theirs, other))
        rows.append({"step": number, "direct": theirs, "ours": mine, "rounding": other})
        if number in (1, 2, 5, 10) or number % 25 == 0 or number == steps:
            told = (*theirs, *mine)
            print(f"{number:5}", *(f"{one:10.6f}" for one in told), f"{largest:9.1e} {floor:9.1e}", flush=True)
    if options.out:
        write_json(options.out, {"largest": largest, "rounding": floor, "steps": rows})


if __name__ == "__main__":
    main()
