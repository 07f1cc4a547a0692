"""What a study file can say beside trials' settings: every section's keys, their defaults, and what they must be."""

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from topotune.search.objectives import OBJECTIVES

SAMPLERS = ("tpe", "gp", "cmaes", "nsga2", "nsga3", "random", "quasirandom", "grid")
PRUNERS = ("successive_halving", "hyperband", "median", "percentile", "patient", "threshold", "none")
CRITERIA = ("l2", "l1", "random", "neighbour")
SCOPES = ("topographic", "all")


@dataclass(frozen=True)
class Option:
    """One key of a section that is no trial setting: its default, what it must be, and a test of that."""

    default: Any
    wanted: str
    accepts: Callable[[Any], bool]


def _whole(low: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and value >= low


def _number(low: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and low <= value <= sys.float_info.max


def _proportions(value: Any) -> bool:
    if not isinstance(value, list) or not all(_number(0)(one) and one <= 1 for one in value):
        return False
    return 0 < len(value) == len({float(one) for one in value})


def _one_of(names: tuple[str, ...]) -> Callable[[Any], bool]:
    return lambda value: value in names


def _some_of(names: Iterable[str]) -> Callable[[Any], bool]:
    """One of the names, or a list of distinct ones."""

    def accepts(value: Any) -> bool:
        several = [value] if isinstance(value, str) else value
        return _texts(several) and 0 < len(several) == len(set(several)) and set(several) <= set(names)

    return accepts


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one for one in value)


# letters, digits, dots, dashes: the name is a folder, an MLflow experiment and part of a command
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_TAKEN = ("mlflow.db", "mlartifacts", "report.html")  # what lies beside the studies

OPTIONS: dict[str, dict[str, Option]] = {
    "study": {
        "name": Option("", "a name of letters, digits, '.', '_' and '-'",
                       lambda value: isinstance(value, str) and bool(_NAME.fullmatch(value)) and value not in _TAKEN),
        "description": Option("", "a string", lambda value: isinstance(value, str)),
        "sampler": Option("tpe", f"one of {', '.join(SAMPLERS)}", _one_of(SAMPLERS)),
        "pruner": Option("successive_halving", f"one of {', '.join(PRUNERS)}", _one_of(PRUNERS)),
        "seed": Option(0, "an integer from 0 to 2147483647", lambda value: _whole(0)(value) and value < 2**31),
        "system_metrics": Option(False, "true or false", lambda value: type(value) is bool),
        "warm_start": Option([], "a list of earlier studies: names within the studies' folder, or paths", _texts),
    },
    "objective": {
        "metric": Option("validation_accuracy", f"one of {', '.join(OBJECTIVES)}, or a list", _some_of(OBJECTIVES)),
        "constraints": Option([], "a list of texts like 'validation_accuracy >= control - 1.0'", _texts),
    },
    "budget": {
        "trials": Option(50, "an integer >= 1", _whole(1)),
        "replicates": Option(1, "an integer >= 1: seeds that a trial is measured on", _whole(1)),
        "hours": Option(0, "a number >= 0: of the clock; 0 for no limit", _number(0)),
        "device_hours": Option(0, "a number >= 0: of GPUs, else of CPUs; 0 for no limit", _number(0)),
        "patience": Option(0, "an integer >= 0: trials without progress; 0 for no limit", _whole(0)),
        "min_epochs": Option(1, "an integer >= 1: no trial is stopped before", _whole(1)),
        "reduction_factor": Option(3, "an integer >= 2: one in so many trials passes a rung", _whole(2)),
        "cpus_per_worker": Option(1, "a number > 0", lambda value: _number(0)(value) and value > 0),
        "gpus_per_worker": Option("auto", "a number >= 0, or 'auto': 1 where the cluster has GPUs",
                                  lambda value: value == "auto" or _number(0)(value)),
        "keep": Option(10, "an integer >= 1: the best trials whose weights are kept", _whole(1)),
    },
    "confirm": {
        "seeds": Option(5, "an integer >= 1", _whole(1)),
        "per": Option([], "a list of distinct settings that [scientific] searches",
                      lambda value: _texts(value) and len(set(value)) == len(value)),
    },
    "prune": {
        "criterion": Option("l2", f"one of {', '.join(CRITERIA)}, or a list of them", _some_of(CRITERIA)),
        "scope": Option("topographic", f"one of {', '.join(SCOPES)}: which layers", _one_of(SCOPES)),
        "proportions": Option([step / 20 for step in range(21)], "distinct numbers from 0 to 1", _proportions),
        "finetune_epochs": Option(0, "an integer >= 0: epochs of training on after pruning", _whole(0)),
        "finetune_proportions": Option([0.25, 0.5, 0.75], "distinct numbers from 0 to 1", _proportions),
    },
    "robustness": {
        "perturbations": Option([], "a list of distinct names of perturbations; an empty one for none",
                                lambda value: _texts(value) and len(set(value)) == len(value)),
    },
}  # fmt: skip

FREE = ("sampler", "pruner")  # sections of Optuna's own options; scheduler.py knows them
ENQUEUE = "enqueue"  # [[enqueue]]: points
EFFORT = ("budget", "confirm", "prune", "robustness", ENQUEUE)  # may differ when a study goes on
