"""A whole training step with topography against the same step without: forward, backward, SGD.

    python -m tests.benchmarks.step [--models resnet18 vgg16 densenet121] [--precisions float32 bfloat16]
                                    [--batch 64] [--rounds 9] [--out FILE.json]

32 x 32 images. Three copies of a network take a step each in every round: without topography, with ours (channel
loss on the layers of the first paper's code), and with the formula written out. The ratio is the median over rounds.

The floor is the ratio that no loss of this form comes below on this machine: for each layer the operations of its
products at the rate of a large one, or, if that is more, the bytes of reading its outputs twice and writing their
gradient at the rate of a copy; and the bytes of adding that gradient to the task's. On a GPU where torch sees one.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.layer import floors, rates
from tests.benchmarks.measure import ratio, seconds
from topotune.config import TrialConfig
from topotune.data.batches import Batch
from topotune.files import write_json
from topotune.losses import LOSSES, LossEntry
from topotune.models.topographic import LayerOutputs, build_model, topographic_layers
from topotune.training.arrangement import topography_of
from topotune.training.device import LAYOUT, Precision
from topotune.training.loop import losses
from topotune.training.memory import keep_freed_memory

DIRECT = "direct"
LOSSES[DIRECT] = LossEntry("tests.benchmarks.direct:direct", "outputs", "targets")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def step(config: TrialConfig, batch: Batch, mode: str | None = None) -> Callable[[], None]:
    """One training step of a fresh network; with ``mode``, of one that torch.compile compiles that way."""
    torch.manual_seed(0)
    precision = Precision(DEVICE, config.precision == "bfloat16")
    model = build_model(config.model, 3, 10).to(DEVICE, memory_format=LAYOUT).train()  # type: ignore[call-overload]
    topography = topography_of(config, model) if config.topographic else None
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    network = torch.compile(model, mode=mode) if mode else model

    def work() -> None:
        task, topographic = losses(network, batch, topography, precision)
        optimizer.zero_grad(set_to_none=True)
        (task + config.weight * topographic).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return work


def batch_of(size: int) -> Batch:
    """Random images and labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, 3, 32, 32, generator=generator).to(DEVICE)
    return Batch(images, torch.randint(10, (size,), generator=generator).to(DEVICE), 1.0)


def floor(config: TrialConfig, images: torch.Tensor, rates: tuple[float, float]) -> float:
    """Seconds that the topographic part of a step cannot do without; ``rates`` are operations and bytes a second."""
    model = build_model(config.model, 3, 10).to(DEVICE)
    with LayerOutputs(topographic_layers(config.model, model)) as caught, torch.no_grad():
        model(images)
    total = 0.0
    for outputs in caught.outputs.values():
        samples, channels, size, _ = outputs.shape
        operations, copied = floors(channels, size, samples)
        if config.precision == "bfloat16":
            copied //= 2
        total += max(operations / rates[0], copied / rates[1]) + copied / rates[1]
    return total


def measure(model: str, precision: str, size: int, rounds: int, machine: tuple[float, float]) -> dict[str, Any]:
    """Milliseconds of a step, the two ratios and the floor of ours."""
    plain = TrialConfig(dataset="cifar10", model=model, precision=precision, batch_size=size)
    configs = [plain, *(plain.replace(topography="grid2d", weight=0.1, loss=loss) for loss in ("channel", DIRECT))]
    batch = batch_of(size)
    alone, ours, theirs = seconds([step(config, batch) for config in configs], rounds)
    return {
        "model": model, "precision": precision, "plain_ms": 1000 * statistics.median(alone),
        "ours": ratio(ours, alone), "direct": ratio(theirs, alone),
        "floor": 1 + floor(plain, batch.images, machine) / statistics.median(alone),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "vgg16", "densenet121"])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plain-allocator", action="store_true", help="as torch alone has it, not as fit sets it")
    options = parser.parse_args()
    if DEVICE.type == "cpu" and not options.plain_allocator:
        keep_freed_memory()
    print(
        f"batch {options.batch}, {DEVICE}, {torch.get_num_threads()} threads; a step with topography over one without"
    )
    print(f"{'model':12} {'precision':9} {'plain, ms':>10} {'ours':>6} {'direct':>7} {'floor':>6}")
    rows, machine = [], rates()
    for model in options.models:
        for precision in options.precisions:
            row = measure(model, precision, options.batch, options.rounds, machine)
            rows.append(row)
            print(
                f"{model:12} {precision:9} {row['plain_ms']:10.1f} {row['ours']:6.3f} {row['direct']:7.3f} "
                f"{row['floor']:6.3f}",
                flush=True,
            )
    if options.out:
        write_json(options.out, {"batch": options.batch, "device": str(DEVICE), "steps": rows})


if __name__ == "__main__":
    main()
