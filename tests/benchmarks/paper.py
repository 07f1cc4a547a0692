"""The first paper's comparison on CIFAR-10: ResNet-18 with its recipe, no topography and grid2d at λ = 1.

    python -m tests.benchmarks.paper --data DATA --out results/ [--seeds 5] [--set epochs=100 --set precision=bfloat16]

Published, 5 seeds: test accuracy 92.45 and 91.9; with 62 % of the channels pruned 40.6 and 62.0. Writes a run's folder
for each, and results.csv: one row a model. The same command goes on after an interruption. Needs torch alone.
"""

import argparse
from pathlib import Path

from topotune.config import TrialConfig
from topotune.files import write_csv
from topotune.followup.pruning import Cut, PruneJob, prune_one
from topotune.search.study_file import parse_override
from topotune.training.fit import fit

PROPORTION = 0.62
COLUMNS = (
    "topography",
    "weight",
    "seed",
    "test_accuracy",
    "pruned_accuracy",
    "epochs",
    "seconds_an_epoch",
    "config_hash",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], help="of all models: NAME=VALUE")
    options = parser.parse_args()
    base = {"recipe": "poli2022", "dataset": "cifar10", "model": "resnet18"} | dict(map(parse_override, options.set))
    rows = []
    print(" ".join(COLUMNS[:-1]))
    for seed in range(options.seeds):
        for topography, weight in (("none", 0.0), ("grid2d", 1.0)):
            config = TrialConfig.from_dict(base | {"topography": topography, "weight": weight, "seed": seed})
            out = options.out / f"{topography}-{seed}"
            result = fit(config, out, options.data)
            whole, pruned = prune_one(PruneJob(out, options.data, (Cut(0.0), Cut(PROPORTION))))
            values = (
                topography, weight, seed, whole["accuracy"], pruned["accuracy"], result.epochs,
                round(result.seconds / result.epochs, 2), config.hash,
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, values, strict=True)))
            print(*values[:-1], flush=True)
            write_csv(options.out / "results.csv", COLUMNS, rows)


if __name__ == "__main__":
    main()
