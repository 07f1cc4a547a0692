"""Confirming: the best settings of each topography, or of each variant of it, and of the control, trained anew on seeds
that the search never saw, with the full budget, and tested once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from topotune.config import TrialConfig
from topotune.data.batches import evaluation_batches
from topotune.data.splits import Split, load_split
from topotune.files import Row
from topotune.folder import StudyFolder, ranked, variant
from topotune.training.checkpoint import load_config, load_model
from topotune.training.device import Precision, pick_device
from topotune.training.loop import Evaluation, evaluate
from topotune.training.records import TrialResult, images_at_once

Train = Callable[[TrialConfig, Path, Path | None], TrialResult]


@dataclass(frozen=True)
class ConfirmJob:
    """One model to train and test.

    trial: the number of the trial that its settings come from. variant: what these are called, see ``select``.
    """

    config: TrialConfig
    trial: int
    variant: str
    out: Path
    data: Path | None
    train: Train


def select(rows: Sequence[Row], topographies: Sequence[str], per: Sequence[str] = ()) -> dict[str, Row]:
    """The best trial of each variant: of each topography, and there, of each combination of the settings ``per``.

    A complete trial comes before any that was stopped; among stopped ones, the one that got farthest, and then the one
    with the best validation accuracy. The variants are in the order of the topographies, and of the settings' values.
    """
    best = {variant(row, per): row for row in reversed(ranked(rows))}
    stopped = [row for row in rows if row["state"] == "pruned" and row["validation_accuracy"] is not None]
    for row in sorted(stopped, key=lambda row: (row["epochs"], row["validation_accuracy"]), reverse=True):
        best.setdefault(variant(row, per), row)
    wanted = [name for name, row in best.items() if row["topography"] in topographies]

    def place(name: str) -> tuple[Any, ...]:
        row = best[name]
        values = (row.get(one) for one in per)
        return topographies.index(row["topography"]), *(
            (value is None, 0 if value is None else value) for value in values
        )

    return {name: best[name] for name in sorted(wanted, key=place)}


def jobs(
    folder: StudyFolder, selected: dict[str, Row], seeds: Iterable[int], data: Path | None, train: Train
) -> Iterator[ConfirmJob]:
    """Seed by seed, so that an interrupted stage has compared all topographies on as many seeds as it can; ``seeds``
    are counted from the search's own."""
    configs = {name: load_config(folder.trial(row["id"])) for name, row in selected.items()}
    for step in seeds:
        for name, config in configs.items():
            own = config.replace(seed=config.seed + step)
            yield ConfirmJob(own, selected[name]["id"], name, folder.confirmed(own), data, train)


def confirm_one(job: ConfirmJob) -> Row:
    """Train, then test the best epoch's weights: a row of confirm.csv."""
    result = job.train(job.config, job.out, job.data)
    split = load_split(job.config.dataset, "test", job.data)
    tested = evaluate_checkpoint(job.out, split)
    return {
        "topography": job.config.topography,
        "weight": job.config.weight,
        "seed": job.config.seed,
        "test_accuracy": tested.accuracy,
        "test_roc_auc": tested.roc_auc,
        "test_samples": len(split),
        "validation_accuracy": result.validation_accuracy,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": round(result.seconds, 3),
        "trial": job.trial,
        "variant": job.variant,
        "config_hash": job.config.hash,
        "checkpoint": str(job.out),
    }


def evaluate_checkpoint(checkpoint: Path, split: Split) -> Evaluation:
    """A checkpoint on one part of its data set."""
    config, model = load_config(checkpoint), load_model(checkpoint)
    device = pick_device(config.device)
    precision = Precision(device, config.precision == "bfloat16")
    if config.threads:
        torch.set_num_threads(config.threads)
    return evaluate(model.to(device), evaluation_batches(split.to(device), images_at_once(checkpoint)), precision)
