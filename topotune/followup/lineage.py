"""What is found of a single checkpoint, told to MLflow: as a child of the run that the checkpoint is of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from topotune import provenance
from topotune.files import Row
from topotune.load import MLFLOW_URIS, weights_hash
from topotune.tracking import Tracker, origin
from topotune.training.checkpoint import load_config

EXPERIMENT = "checkpoints"  # of those that are of no run


@dataclass(frozen=True)
class Source:
    """A checkpoint's folder here, where it is from, and the store that is told what is found of it; None: nobody is."""

    folder: Path
    location: str
    store: str | None


class Child:
    """A run of one stage on one checkpoint, in MLflow once there is something to tell; with the same settings again it
    is the same run, which goes on.

    with Child(source, "prune", {}, outbox, warn) as run:
        run.metrics(500, {"pruned_accuracy": 0.9})
    """

    def __init__(
        self, source: Source, stage: str, settings: Mapping[str, Any], outbox: Path, warn: Callable[[str], None]
    ) -> None:
        """``outbox``: a folder for what waits to be sent; ``warn``: told where the store is away."""
        self._source, self._stage, self._settings = source, stage, settings
        self._outbox, self._warn = outbox, warn
        self._key = ""
        self._tracker: Tracker | None = None  # until the run has begun

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._outbox.exists():  # of a process that was killed, records wait, the end among them
            self._begin()
        if self._tracker:
            ended = ("KILLED", {}) if error else ("FINISHED", {"state": "complete"})
            self._tracker.end(self._key, *ended)
            self._tracker.close()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics of one step."""
        if tracker := self._begin():
            tracker.metrics(self._key, step, values)

    def artifact(self, path: Path, to: str = "") -> None:
        """A file, into the run's folder ``to``."""
        if tracker := self._begin():
            tracker.artifact(self._key, path, to)

    def _begin(self) -> Tracker | None:
        """The run's tracker, if a store is told of it; the run begins with the first call."""
        store, location, folder = self._source.store, self._source.location, self._source.folder
        if store is None or self._tracker:
            return self._tracker
        config, weights = load_config(folder), weights_hash(folder)
        of = origin(location, store) if location.startswith(MLFLOW_URIS) else None
        tags: dict[str, Any] = {"stage": self._stage, "config_hash": config.hash, "weights": weights}
        tags |= {"checkpoint": location, "mlflow.source.git.commit": provenance.git_commit()}
        self._key = "/".join([self._stage, weights, *map(str, self._settings.values())])
        experiment = of.experiment if of else EXPERIMENT
        self._tracker = Tracker(self._outbox, store, experiment, self._warn, "by the same command")
        self._tracker.run(
            self._key, f"{self._stage} {config.label}", f"runs:/{of.run}" if of else None,
            config.effective | dict(self._settings), tags | dict(of.tags if of else {}),
        )  # fmt: skip
        return self._tracker


def pruning_metrics(row: Row) -> tuple[int, dict[str, float]]:
    """Step and value of a row of pruning.csv: MLflow's steps are whole numbers, per mille of the channels."""
    # the paper's own way needs no other name
    words = [row["criterion"]] * (row["criterion"] != "l2") + ["all_layers"] * (row["scope"] == "all")
    words += ["finetuned"] * (row["finetune_epochs"] > 0)
    return round(row["proportion"] * 1000), {"_".join(["pruned_accuracy", *words]): row["accuracy"]}


def robustness_metrics(rows: Sequence[Row]) -> tuple[int, dict[str, float]]:
    """Step, thousandths of the level, and mean of the draws at one level of a perturbation."""
    mean = sum(row["accuracy"] for row in rows) / len(rows)
    return round(1000 * rows[0]["level"]), {f"accuracy_{rows[0]['perturbation']}": mean}
