"""What a search can optimise beside validation accuracy: measured once, of a finished trial's checkpoint, without the
test part of its data."""

from collections.abc import Callable, Sequence
from pathlib import Path

from topotune.followup.pruning import pruned_accuracy
from topotune.followup.robustness import corruption_accuracy
from topotune.training.checkpoint import load_model


def parameters(checkpoint: Path, _data: Path | None) -> float:
    """Number of trained values."""
    return float(sum(one.numel() for one in load_model(checkpoint).parameters()))


MEASURES: dict[str, Callable[[Path, Path | None], float]] = {
    "pruned_accuracy": pruned_accuracy,
    "corruption_accuracy": corruption_accuracy,
    "parameters": parameters,
}


def measure(names: Sequence[str], checkpoint: Path, data: Path | None) -> dict[str, float]:
    """These metrics of a checkpoint, by name."""
    return {name: MEASURES[name](checkpoint, data) for name in names}
