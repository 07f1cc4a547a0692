"""The 75 corrupted sets of CIFAR-10's test images, 15 corruptions at 5 severities: seconds of each, and memory.

    python -m tests.benchmarks.corruptions --data DATA [--images 10000] [--names fog,snow] [--out FILE.json]

Images are made block by block, as the robustness stage makes them, and are dropped. Beside the time on the clock stand
the CPU's seconds over all threads, which other work on the machine disturbs less. With fewer images, times are also
given for 10,000. The peak is what the process has taken beyond what it had when the data were loaded.
"""

import argparse
import resource
import time
from pathlib import Path

import torch

from topotune.data.batches import raw_batches
from topotune.data.splits import Split, load_split
from topotune.files import write_json
from topotune.followup.perturbations import CORRUPTIONS, SEVERITIES
from topotune.followup.tested import BLOCK, perturbed
from topotune.training.memory import keep_freed_memory

ALL_IMAGES = 10_000


def corrupt(split: Split, name: str, severity: int) -> tuple[float, float, float]:
    """Seconds on the clock and of the CPU for one set, and its mean distance from the clean images."""
    clock, work, distance = time.perf_counter(), time.process_time(), 0.0
    for start, batch in enumerate(perturbed(raw_batches(split, BLOCK), name, severity)):
        clean = split.images[start * BLOCK : (start + 1) * BLOCK]
        distance += float((batch.images[0] - clean[0] / 255).abs().mean())
    blocks = -(-len(split) // BLOCK)
    return time.perf_counter() - clock, time.process_time() - work, distance / blocks


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=ALL_IMAGES)
    parser.add_argument("--names", default=",".join(CORRUPTIONS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    split = load_split("cifar10", "test", options.data).take(torch.arange(options.images))
    before, scale = peak_mib(), ALL_IMAGES / options.images
    print(f"seconds for {ALL_IMAGES} images ({options.images} made), {torch.get_num_threads()} threads")
    print(f"{'corruption':18} {'clock, by severity':^39} {'clock':>8} {'CPU':>8}")
    rows = []
    for name in options.names.split(","):
        found = [corrupt(split, name, severity) for severity in SEVERITIES]
        clocks, works = ([scale * one[part] for one in found] for part in (0, 1))
        rows.append(
            {"corruption": name, "seconds": clocks, "cpu_seconds": works, "distance": [one[2] for one in found]}
        )
        each = " ".join(f"{one:7.2f}" for one in clocks)
        print(f"{name:18} {each} {sum(clocks):8.1f} {sum(works):8.1f}", flush=True)
    clock, work = (sum(sum(row[part]) for row in rows) for part in ("seconds", "cpu_seconds"))
    extra = peak_mib() - before
    print(f"{'all':18} {'':39} {clock:8.1f} {work:8.1f}   peak {extra:.0f} MiB beyond the data")
    if options.out:
        table = {"images": options.images, "threads": torch.get_num_threads(), "peak_mib": extra, "corruptions": rows}
        write_json(options.out, table | {"seconds": clock, "cpu_seconds": work})


if __name__ == "__main__":
    main()
