"""What a training run tells: its epochs, its result, and how it may end otherwise."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from topotune.errors import InputError, StageError
from topotune.files import read_table
from topotune.training import RESULT, STATE
from topotune.training.memory import at_once


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch. Accuracies are fractions, losses means over samples; ``topographic_loss`` is unweighted.

    strength: the mean λ. validation_roc_auc: of two classes; None for more, or where only one occurs.
    """

    epoch: int
    task_loss: float
    topographic_loss: float
    validation_accuracy: float
    validation_loss: float
    learning_rate: float
    seconds: float
    strength: float = 0.0
    validation_roc_auc: float | None = None


@dataclass(frozen=True)
class TrialResult:
    """A finished trial. ``validation_accuracy`` is that of ``best_epoch``, whose weights are kept.

    accumulate: in how many micro-batches a step went through the network at the end, more than asked for if memory
    ran out. data_notes: part (train, validation) -> how many of its samples were mended or left out, by the reason.
    """

    config_hash: str
    validation_accuracy: float
    best_epoch: int
    epochs: int
    seconds: float
    data_checksum: str
    history: tuple[EpochMetrics, ...]
    accumulate: int = 1
    data_notes: dict[str, dict[str, int]] = field(default_factory=dict)


class TrainingDiverged(StageError):
    """A loss is no longer a finite number."""


class OutOfMemory(StageError):
    """A rank ran out of memory; from the next attempt on its steps are divided further."""


class TrialStopped(Exception):
    """Rank 0 stopped the trial; raised on the other ranks."""


Report = Callable[[EpochMetrics], None]


def read_result(out: Path) -> TrialResult | None:
    """The result of the trial in ``out``, or None while it is not finished."""
    path = out / RESULT
    if not path.exists():
        return None
    values = read_table(path)
    try:
        history = tuple(EpochMetrics(**row) for row in values.pop("history"))
        return TrialResult(**values, history=history)
    except (KeyError, TypeError):
        raise InputError(f"{path} is damaged; delete it, and the trial goes on from {STATE}") from None


def images_at_once(out: Path) -> int:
    """How many images are evaluated at once of the model in ``out``: fewer where memory ran short in its training."""
    result = read_result(out)
    return at_once(result.accumulate if result else 1)
