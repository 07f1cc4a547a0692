"""What a search optimises, and what a trial must keep: metrics by name, and constraints on them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from topotune.errors import InputError, unknown

POINTS = 100.0  # an accuracy of 1 is 100 points: constraints speak in points, as papers do


@dataclass(frozen=True)
class Objective:
    """A metric of a complete trial. direction: as Optuna has it; scale: what a constraint's numbers are counted in;
    cost: the work that it takes after the last epoch of each seed, if any."""

    direction: str
    scale: float
    cost: str
    doc: str


PRUNED = "11 evaluations of the validation part a trial and seed"
CORRUPTED = "76 evaluations of 250 validation images a trial and seed"
LOADED = "next to nothing"

OBJECTIVES: dict[str, Objective] = {
    "validation_accuracy": Objective("maximize", POINTS, "", "of the best epoch"),
    "pruned_accuracy": Objective("maximize", POINTS, PRUNED, "mean over pruning proportions"),
    "corruption_accuracy": Objective("maximize", POINTS, CORRUPTED, "mean over corruptions and severities"),
    "parameters": Objective("minimize", 1.0, LOADED, "of the network"),
    "seconds": Objective("minimize", 1.0, "", "of training and validation"),
}

CONTROL = "control"
_CONSTRAINT = re.compile(
    rf"\s*(?P<metric>\w+)\s*(?P<sign><=|>=)\s*(?P<control>{CONTROL}\b)?\s*(?P<number>[+-]?\s*[\d.]+(?:e[+-]?\d+)?)?\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Constraint:
    """``metric >= number`` or ``metric <= number``; with ``relative``, of the control's best trial plus the number."""

    words: str
    metric: str
    least: bool
    relative: bool
    number: float

    def excess(self, values: Mapping[str, float], control: Mapping[str, float] | None) -> float | None:
        """By how much it is violated, in points or units; 0 or less where it is kept, None where that is unknown."""
        if self.metric not in values or (self.relative and (control is None or self.metric not in control)):
            return None
        scale = OBJECTIVES[self.metric].scale
        bound = self.number + (control[self.metric] * scale if self.relative and control else 0.0)
        gap = bound - values[self.metric] * scale
        return gap if self.least else -gap


def constraint(words: str) -> Constraint:
    """``validation_accuracy >= control - 1.0``, ``parameters <= 2e6``. Accuracies are in points, of 100.

    Raises:
        InputError: it is none, or of an unknown metric.
    """
    found = _CONSTRAINT.fullmatch(words)
    if found is None or not (found["control"] or found["number"]):
        raise InputError(
            f"{words!r} is no constraint; write METRIC >= NUMBER, or METRIC >= control - NUMBER, or with <="
        )
    if found["metric"] not in OBJECTIVES:
        raise unknown("metric", found["metric"], OBJECTIVES, repr(words))
    try:
        number = float((found["number"] or "0").replace(" ", ""))
    except ValueError:
        number = math.inf
    signed = (found["number"] or "+").strip()[0] in "+-"
    if not math.isfinite(number) or (found["control"] and not signed):
        raise InputError(f"{words!r}: {found['number']!r} must be a number" + ", + or - before it" * (not signed))
    return Constraint(words, found["metric"], found["sign"] == ">=", bool(found["control"]), number)
