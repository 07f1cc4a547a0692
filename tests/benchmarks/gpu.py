"""Everything that wants a GPU, one after the other in one call; needs torch (with torchvision,
safetensors and scikit-learn) and pytest, but no Ray, Optuna or MLflow.

    python -m tests.benchmarks.gpu --data DATA --out OUT [--parts tests layer …] [--minutes 9]

tests      the tests marked ``gpu``, and the losses' contract
layer      one layer's loss, batch 256                     step      a step with topography over one without
training   images a second against a plain loop            compiled  what torch.compile with CUDA graphs gains
floor      the seconds that an epoch of ResNet-18 on CIFAR-10 cannot do without
epochs     those that it takes: the control, and grid2d
together   1, 2 and 4 trials side by side on one GPU: images a second of all of them

What a part prints goes to OUT/PART.txt, its figures to OUT/PART.json. A part that fails, or for which no time is left,
is named, the others go on, and the exit status is 1. OUT must be new: a finished trial would only be read. The first
paper's comparison has a command of its own: tests.benchmarks.paper.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from topotune.data import DATASETS
from topotune.files import read_csv, read_table, write_json
from topotune.training import METRICS

TRIAL = ("model=resnet18", "dataset=cifar10", "precision=bfloat16", "batch_size=256", "weight_decay=0.01")
GRID = ("topography=grid2d", "weight=1.0")
IMAGES = DATASETS["cifar10"].train
TOGETHER = (1, 2, 4)


def commands(data: Path, out: Path) -> dict[str, list[str]]:
    """The parts that are one command."""
    bench = {
        "layer": ["--batch", "256"], "step": ["--batch", "256"],
        "training": ["--batch", "256", "--steps", "20", "--data", str(data)],
        "compiled": ["--batch", "256", "--mode", "reduce-overhead"],
        "floor": ["--batch", "256"],
    }  # fmt: skip
    tests = ["pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "tests/gpu/test_fit_cuda.py",
             "tests/contract/test_losses.py", "tests/unit/training/test_topography.py"]  # fmt: skip
    return {"tests": tests} | {
        name: [f"tests.benchmarks.{name}", *words, "--out", str(out / f"{name}.json")] for name, words in bench.items()
    }


def train(data: Path, out: Path, settings: Sequence[str]) -> subprocess.Popen[bytes]:
    """One trial, in a process of its own."""
    words = [word for one in (*TRIAL, *settings) for word in ("--set", one)]
    return subprocess.Popen(
        [sys.executable, "-m", "topotune", "train", *words, "--data", str(data), "--out", str(out)],
        stdout=subprocess.DEVNULL,
    )


def epochs(data: Path, out: Path) -> None:
    """Seconds of the last of four epochs, evaluation included, and how many floors that is, where it was measured."""
    floor, rows = out / "floor.json", {}
    for name, settings in (("none", ()), ("grid2d", GRID)):
        ended([train(data, out / "epochs" / name, (*settings, "epochs=4"))])
        rows[name] = last_epoch(out / "epochs" / name)
        print(f"{name}: {rows[name]:.2f} s an epoch", flush=True)
    if floor.exists():
        least = read_table(floor)["seconds"]
        rows |= {f"{name}_over_floor": taken / least for name, taken in rows.items()}
        print(f"floor: {least:.3f} s; {rows['grid2d_over_floor']:.1f} times that with grid2d", flush=True)
    write_json(out / "epochs.json", rows)


def together(data: Path, out: Path) -> None:
    """Images a second of so many trials side by side, by the slowest's last epoch."""
    rows = {}
    for count in TOGETHER:
        folders = [out / "together" / f"{count}-{seed}" for seed in range(count)]
        running = [
            train(data, folder, (*GRID, "epochs=4", f"seed={seed}")) for seed, folder in enumerate(folders)
        ]  # fmt: skip
        ended(running)
        rows[str(count)] = count * IMAGES / max(map(last_epoch, folders))
        print(f"{count} side by side: {rows[str(count)]:.0f} images a second", flush=True)
    write_json(out / "together.json", rows)


def ended(trials: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for all of them.

    Raises:
        CalledProcessError: one has failed.
    """
    for code, one in [(one.wait(), one) for one in trials]:
        if code:
            raise subprocess.CalledProcessError(code, one.args)


def last_epoch(folder: Path) -> float:
    """Seconds of a trial's last epoch."""
    return float(read_csv(folder / METRICS)[-1]["seconds"])


ALONE: dict[str, Callable[[Path, Path], None]] = {"epochs": epochs, "together": together}


def run(part: str, options: argparse.Namespace, seconds: float) -> bool:
    """One part; whether it went well."""
    try:
        if part in ALONE:
            ALONE[part](options.data, options.out)
            return True
        path, words = options.out / f"{part}.txt", commands(options.data, options.out)[part]
        with path.open("wb") as file:
            done = subprocess.run(
                [sys.executable, "-m", *words], stdout=file, stderr=subprocess.STDOUT, timeout=seconds
            )
        print(path.read_text(encoding="utf-8")[-3000:], flush=True)
        return done.returncode == 0
    except subprocess.SubprocessError as error:
        print(error, flush=True)
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parts = [*commands(Path(), Path()), *ALONE]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="default: all")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which no further part is begun")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    until, failed = time.monotonic() + 60 * options.minutes, []
    for part in options.parts:
        print(f"== {part}", flush=True)
        left = until - time.monotonic()
        if left < 0 or not run(part, options, left):
            failed.append(part)
    if failed:
        raise SystemExit(f"failed, or left out: {', '.join(failed)}")


if __name__ == "__main__":
    main()
