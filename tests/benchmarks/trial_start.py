"""Seconds from a trial's suggestion to its first training step: cold, and in a reused actor; one process and two ranks.

    python -m tests.benchmarks.trial_start [--trials 8] [--out FILE.json]

The first trial of a search is cold (a worker process starts and imports torch), the others reuse its actor. Two ranks
need two CPUs. With one worker, two trials run side by side, so two starts are cold.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from topotune.files import read_csv, write_json

ROOT = Path(__file__).resolve().parents[2]


def measure(workers: int, trials: int, folder: Path) -> dict[str, float]:
    """Run a search of ``trials`` short trials; the seconds that their starts took."""
    settings = [f"budget.trials={trials}", "epochs=3", "study.pruner=median", "threads=1", f"workers={workers}"]
    words = [word for setting in settings for word in ("--set", setting)]
    space = ROOT / "search_spaces" / "digits.toml"
    command = [sys.executable, "-m", "topotune", "search", str(space), "--studies", str(folder), *words]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    starts = [row["start_seconds"] for row in read_csv(folder / "digits" / "trials.csv")]
    cold = max(1, (os.cpu_count() or 1) // workers)
    return {"cold": min(starts[:cold]), "reused": statistics.median(starts[cold:]), "reused_max": max(starts[cold:])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory(prefix="tt", dir="/tmp") as name:
            found[f"{workers} worker(s)"] = measure(workers, options.trials, Path(name))
    print(f"{'seconds to the first step':28}{'cold':>8}{'reused':>8}{'worst reused':>14}")
    for name, one in found.items():
        print(f"{name:28}{one['cold']:8.2f}{one['reused']:8.2f}{one['reused_max']:14.2f}")
    if options.out:
        write_json(options.out, found)
        print(json.dumps(str(options.out)))


if __name__ == "__main__":
    main()
