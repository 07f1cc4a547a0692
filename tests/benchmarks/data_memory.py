"""Memory of trials side by side on one node: how much of it is data.

    python -m tests.benchmarks.data_memory --data DATA [--dataset cifar10] [--trials 1 2 4] [--out FILE.json]

Each trial is a process with a network, which goes through every training and validation image. The proportional set
size (PSS) counts a page that k processes share as a k-th in each, so that the sum is what the node gives. Linux only.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from topotune.files import write_json

TRIAL = """
import sys
from pathlib import Path
import torch
from topotune.data.splits import load_split
from topotune.models.topographic import build_model

torch.set_num_threads(1)
name, root, with_data = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "data"
model = build_model("resnet18", 3, 10)
parts = [load_split(name, part, root).images for part in ("train", "validation")] if with_data else []
for images in parts or [torch.zeros(512, 3, 32, 32, dtype=torch.uint8)]:  # the work itself takes memory too
    for some in images.split(512):
        some.float().sum()
print(sum(images.numel() for images in parts), flush=True)
sys.stdin.read()
"""


def pss(trials: int, dataset: str, data: Path, kind: str) -> tuple[float, float]:
    """MiB of all trials together, and MiB of one data set."""
    command = [sys.executable, "-c", TRIAL, dataset, str(data), kind]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(trials)
    ]
    try:
        sizes = [int(one.stdout.readline()) for one in running if one.stdout]
        total = sum(_pss(one.pid) for one in running)
    finally:
        for one in running:
            one.communicate("")
    return total / 1024, sizes[0] / 2**20


def _pss(pid: int) -> int:
    """KiB of one process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--trials", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print(f"{options.dataset}; MiB (PSS) of all trials together")
    print(f"{'trials':>6} {'without data':>13} {'with data':>10} {'data':>7} {'data sets':>10}")
    rows = []
    for trials in options.trials:
        without, _ = pss(trials, options.dataset, options.data, "none")
        total, size = pss(trials, options.dataset, options.data, "data")
        data = total - without
        rows.append({"trials": trials, "without_mib": without, "with_mib": total, "data_set_mib": size})
        print(f"{trials:6} {without:13.0f} {total:10.0f} {data:7.0f} {data / size:10.2f}", flush=True)
    if options.out:
        write_json(options.out, {"dataset": options.dataset, "memory": rows})


if __name__ == "__main__":
    main()
