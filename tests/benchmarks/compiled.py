"""Whether torch.compile pays: a training step with topography compiled, against the same step as it is.

    python -m tests.benchmarks.compiled [--models resnet18 vgg16 densenet121] [--precision bfloat16] [--batch 128]
                                        [--rounds 7] [--mode default] [--out FILE.json]

32 x 32 images, channel loss on the layers of the first paper's code. The steps after which the seconds of compiling are
won back, and epochs of CIFAR-10 that this is, follow from the medians. --mode reduce-overhead has CUDA graphs on a GPU.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.measure import ratio, seconds
from tests.benchmarks.step import DEVICE, batch_of, step
from topotune.config import TrialConfig
from topotune.data import DATASETS
from topotune.files import write_json
from topotune.training.memory import keep_freed_memory

EPOCH = DATASETS["cifar10"].train  # images


def measure(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the compiled step's first call, the ratio of the two, and after how many steps it pays, if ever."""
    config = TrialConfig(
        dataset="cifar10", model=model, precision=options.precision, batch_size=options.batch, topography="grid2d",
        weight=0.1,
    )  # fmt: skip
    batch = batch_of(options.batch)
    plain, compiled = step(config, batch), step(config, batch, options.mode)
    started = time.perf_counter()
    compiled()
    first = time.perf_counter() - started
    alone, ours = seconds([plain, compiled], options.rounds)
    won = statistics.median(alone) * (1 - ratio(ours, alone))
    steps = first / won if won > 0 else None
    return {
        "model": model, "plain_ms": 1000 * statistics.median(alone), "compiled": ratio(ours, alone),
        "first_seconds": first, "pays_after_steps": steps, "pays_after_epochs": steps and steps * options.batch / EPOCH,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "vgg16", "densenet121"])
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mode", default="default", help="torch.compile's")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.compiler.config.force_disable_caches = True  # of earlier runs on this machine
    if DEVICE.type == "cpu":
        keep_freed_memory()
    print(f"batch {options.batch}, {options.precision}, {DEVICE}, {torch.get_num_threads()} threads, {options.mode}")
    print(f"{'model':12} {'plain, ms':>10} {'compiled':>9} {'first, s':>9} {'pays after steps':>17} {'epochs':>7}")
    rows = []
    for model in options.models:
        rows.append(row := measure(model, options))
        print(
            f"{model:12} {row['plain_ms']:10.1f} {row['compiled']:9.3f} {row['first_seconds']:9.1f} "
            + (
                f"{row['pays_after_steps']:17.0f} {row['pays_after_epochs']:7.1f}"
                if row["pays_after_steps"]
                else f"{'never':>17}"
            ),
            flush=True,
        )
    if options.out:
        write_json(options.out, {"batch": options.batch, "precision": options.precision, "mode": options.mode,
                                 "device": str(DEVICE), "compiled": rows})  # fmt: skip


if __name__ == "__main__":
    main()
