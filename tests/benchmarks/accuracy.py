"""What a choice of training costs or gains in accuracy: two values of one setting on the same seeds.

    python -m tests.benchmarks.accuracy --setting schedule=epoch,step --setting precision=float32,bfloat16
        [--set dataset=mnist --set model=mnist_cnn --set epochs=2 ...] [--data DATA] [--seeds 10] [--out FILE.json]

Accuracy is that of the best epoch on the validation part. The difference is the second value's minus the first's, in
percentage points, with its 95% interval (paired by seed).
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from scipy import stats

from topotune.config import TrialConfig
from topotune.files import write_json
from topotune.search.study_file import parse_override
from topotune.training.fit import fit


def compare(base: dict[str, Any], name: str, values: list[Any], seeds: int, data: Path | None) -> dict[str, Any]:
    """Accuracies in % by value, and the second's gain."""
    found = []
    for value in values:
        configs = [TrialConfig.from_dict(base | {name: value, "seed": seed}) for seed in range(seeds)]
        with tempfile.TemporaryDirectory() as folder:
            runs = [fit(config, Path(folder) / str(config.seed), data) for config in configs]
        found.append([100 * run.validation_accuracy for run in runs])
    gain = stats.ttest_rel(found[1], found[0])
    low, high = gain.confidence_interval()
    differences = [b - a for a, b in zip(*found, strict=True)]
    return {
        "setting": name, "values": values, "accuracy": found, "gain": sum(differences) / seeds,
        "interval": [float(low), float(high)],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", action="append", required=True, help="NAME=FIRST,SECOND")
    parser.add_argument("--set", action="append", default=[], help="of both: NAME=VALUE")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    base, rows = dict(map(parse_override, options.set)), []
    print(f"{base or 'digits, small_cnn'}; {options.seeds} seeds; validation accuracy, %")
    for setting in options.setting:
        name, _, text = setting.partition("=")
        values = [parse_override(f"{name}={one}")[1] for one in text.split(",")]
        row = compare(base, name, values, options.seeds, options.data)
        rows.append(row)
        means = [f"{value} {sum(own) / len(own):.2f}" for value, own in zip(values, row["accuracy"], strict=True)]
        low, high = row["interval"]
        print(f"{name}: {', '.join(means)}; gain {row['gain']:+.2f} ({low:+.2f} to {high:+.2f})", flush=True)
    if options.out:
        write_json(options.out, {"settings": base, "seeds": options.seeds, "comparisons": rows})


if __name__ == "__main__":
    main()
