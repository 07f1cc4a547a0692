"""A study's folder: where each stage leaves what the next one reads.

<studies>/<name>/
  study.toml      the study file, resolved: what was asked for
  journal.log     Optuna's storage: what was suggested, reported and told
  trials/<id>/    one folder a trial: config.json, metrics.csv, result.json, model.safetensors
  trials.csv      one row a trial
  confirm/<topography>-seed<n>-<config hash>/   likewise, one folder a confirmed model
  confirm.csv     one row a confirmed model
  pruning.csv     one row a confirmed model, criterion and proportion
  robustness.csv  one row a confirmed model, perturbation, level and draw
  analysis.csv    one row a confirmed model, layer, positions and measure
  analysis/       a file a confirmed model: maps to draw (tables' column weights names it)
  best/           the best checkpoint so far
  mlflow/         what MLflow is told (tracking)
  figures/        what topotune figures drew
  report.html  summary.json
"""

import errno
import fcntl
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from topotune.config import NONE, TrialConfig
from topotune.errors import InputError
from topotune.files import Row, check_rows, read_csv
from topotune.training import ARRANGEMENT, CONFIG, METRICS, RESULT, WEIGHTS

CONFIRM_COLUMNS = (
    "topography", "weight", "seed", "test_accuracy", "test_roc_auc", "test_samples", "validation_accuracy",
    "best_epoch", "epochs", "seconds", "trial", "variant", "config_hash", "checkpoint",
)  # fmt: skip
PRUNING_COLUMNS = (
    "topography", "weight", "seed", "criterion", "scope", "proportion", "finetune_epochs", "accuracy", "config_hash",
)  # fmt: skip
SEED_FOLDER = "seed-"  # what the folder of a trial's further seed begins with, within the trial's own
_PRUNED_ONCE = {"criterion": "l2", "scope": "topographic", "finetune_epochs": 0}  # before there was a choice
ROBUSTNESS_COLUMNS = (
    "topography", "weight", "seed", "perturbation", "level", "draw", "accuracy", "clean_accuracy", "source",
    "config_hash",
)  # fmt: skip
ANALYSIS_COLUMNS = (
    "model", "topography", "loss", "weight", "seed", "layer", "positions", "analysis", "measure", "at", "other",
    "value", "chance_mean", "chance_low", "chance_high", "settings", "config_hash", "weights",
)  # fmt: skip
ANALYSIS_NUMBERS = ("weight", "seed", "value", "chance_mean", "chance_low", "chance_high")

# of each table: columns without which it is another one, and those that hold numbers
_MODEL = (("topography", "config_hash"), ("weight", "seed"))
_NEEDED = {
    "trials.csv": (("id", "state", "topography"), ("weight", "validation_accuracy")),
    "confirm.csv": ((*_MODEL[0], "checkpoint"), (*_MODEL[1], "test_accuracy", "validation_accuracy")),
    "pruning.csv": (_MODEL[0], (*_MODEL[1], "proportion", "accuracy")),
    "robustness.csv": ((*_MODEL[0], "perturbation"), (*_MODEL[1], "level", "accuracy", "clean_accuracy")),
    "analysis.csv": (ANALYSIS_COLUMNS, ANALYSIS_NUMBERS),
}


def checkpoint_files(checkpoint: Path) -> list[Path]:
    """The files of a finished checkpoint; one more where positions were learned or assigned."""
    always = [checkpoint / name for name in (CONFIG, WEIGHTS, METRICS, RESULT)]
    return always + list(checkpoint.glob(ARRANGEMENT))


@dataclass(frozen=True)
class StudyFolder:
    """Paths within one study's folder."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def study_file(self) -> Path:
        return self.path / "study.toml"

    @property
    def journal(self) -> Path:
        return self.path / "journal.log"

    @property
    def trials_table(self) -> Path:
        return self.path / "trials.csv"

    @property
    def confirm_table(self) -> Path:
        return self.path / "confirm.csv"

    @property
    def pruning_table(self) -> Path:
        return self.path / "pruning.csv"

    def rows(self, table: Path) -> list[Row]:
        """The rows of one of its tables; none where there is no file. A pruning.csv of before there were criteria holds
        those of the only one.

        Raises:
            InputError: the file is damaged, or is another table.
        """
        rows = read_csv(table)
        check_rows(table, rows, *_NEEDED[table.name])
        return [_PRUNED_ONCE | row for row in rows] if table == self.pruning_table else rows

    def by_variant(self, rows: Iterable[Row]) -> list[Row]:
        """Rows of confirmed models, each under its variant's name in place of its topography's, by which they are
        compared; a table of before there were variants has none."""
        names = {row["config_hash"]: row.get("variant") for row in self.rows(self.confirm_table)}
        return [row | {"topography": names.get(row["config_hash"]) or row["topography"]} for row in rows]

    @property
    def outbox(self) -> Path:
        return self.path / "mlflow"

    @property
    def robustness_table(self) -> Path:
        return self.path / "robustness.csv"

    @property
    def analysis_table(self) -> Path:
        return self.path / "analysis.csv"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def best(self) -> Path:
        return self.path / "best"

    def trial(self, number: int) -> Path:
        """The folder of one trial of the search."""
        return self.path / "trials" / f"{number:05d}"

    def replicates(self, number: int, seeds: int) -> list[Path]:
        """The folders of one trial's runs, one a seed; the first one is the trial's own."""
        own = self.trial(number)
        return [own, *(own / f"{SEED_FOLDER}{step}" for step in range(1, seeds))]

    def confirmed(self, config: TrialConfig) -> Path:
        """The folder of one confirmed model."""
        return self.path / "confirm" / f"{config.topography}-seed{config.seed}-{config.hash}"


def ranked(trials: Iterable[Row]) -> list[Row]:
    """The complete trials of trials.csv, the best one first."""
    known = [row for row in trials if row["state"] == "complete" and row["validation_accuracy"] is not None]
    complete = [row for row in known if not math.isnan(row["validation_accuracy"])]
    return sorted(complete, key=lambda row: (row.get("rank") or math.inf, -row["validation_accuracy"], row["id"]))


def variant(row: Row, per: Sequence[str]) -> str:
    """What the settings of a trial are called: ``grid2d``, or ``grid2d loss=ws weight=0.1``; the control is one."""
    own = () if row["topography"] == NONE else [name for name in per if row.get(name) is not None]
    return " ".join([row["topography"], *(f"{name}={row[name]}" for name in own)])


class StudyBusy(InputError):
    """Another process is working on the study."""


def hold(folder: StudyFolder) -> int:
    """A lock on the study that goes with this process, however it ends: a file's number, to be closed.

    Raises:
        StudyBusy: another process has it.
        InputError: it may only be read.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        lock = os.open(folder.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise InputError(
            f"{folder.path}: may not be written to; topotune show, and figures with --out, only read it"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StudyBusy(
            f"study {folder.name!r} is being worked on by another process; wait for it, or begin anew beside it "
            "with --fresh"
        ) from None
    return lock


def open_study(study: Path, studies: Path) -> StudyFolder:
    """The folder of an existing study, given by its path or by its name within ``studies``.

    Raises:
        InputError: there is no such study.
    """
    for path in (study, studies / study):
        if (path / "study.toml").is_file():
            return StudyFolder(path.resolve())
    known = ", ".join(sorted(one.name for one in list_studies(studies))) or "none yet"
    raise InputError(f"no study {str(study)!r}: neither a study's folder nor a name within {studies} (there: {known})")


def list_studies(studies: Path) -> list[StudyFolder]:
    """The studies within a folder, by name."""
    return [StudyFolder(path.parent.resolve()) for path in sorted(studies.glob("*/study.toml"))]
