"""The seconds that an epoch cannot do without: the network's operations at the rate of a large product.

    python -m tests.benchmarks.floor [--model resnet18] [--dataset cifar10] [--precision bfloat16] [--batch 256]
                                     [--out FILE.json]

Counted are the convolutions and matrix products of a training step (forward and backward, without topography) and of an
evaluation, for all samples of the training and of the validation part. On a GPU where torch sees one.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.layer import rates
from tests.benchmarks.step import DEVICE, batch_of, step
from topotune.config import TrialConfig
from topotune.data import DATASETS
from topotune.files import write_json
from topotune.models.topographic import build_model
from topotune.training.device import Precision

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def operations(config: TrialConfig) -> float:
    """Of one epoch of a trial on images of 32 x 32, with its evaluation."""
    entry, batch = DATASETS[config.dataset], batch_of(config.batch_size)
    model = build_model(config.model, *batch.images.shape[1:2], entry.classes).to(DEVICE).eval()
    precision = Precision(DEVICE, config.precision == "bfloat16")

    def evaluate() -> None:
        with torch.no_grad(), precision.autocast():
            model(batch.images)

    training, evaluation = (_counted(work) / config.batch_size for work in (step(config, batch), evaluate))
    return entry.train * training + entry.validation * evaluation


def _counted(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--dataset", choices=("cifar10", "cifar100"), default="cifar10")
    parser.add_argument("--precision", choices=DTYPES, default="bfloat16")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    config = TrialConfig(
        dataset=options.dataset, model=options.model, precision=options.precision, batch_size=options.batch
    )
    rate, count = rates(DTYPES[options.precision])[0], operations(config)
    found = {"operations": count, "operations_a_second": rate, "seconds": count / rate}
    print(
        f"{count:.3g} operations an epoch at {rate:.3g} a second ({options.precision}, {DEVICE}): {count / rate:.3f} s"
    )
    if options.out:
        write_json(options.out, {"model": options.model, "dataset": options.dataset, "device": str(DEVICE)} | found)


if __name__ == "__main__":
    main()
