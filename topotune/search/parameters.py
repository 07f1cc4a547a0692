"""A study file's settings as Optuna's parameters."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from topotune.search.space import Cases, Choices, Plain, StudyFile


def distribution(dimension: Plain) -> BaseDistribution:
    """A dimension as Optuna has it."""
    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), dimension.log, int(dimension.step or 1))
    return FloatDistribution(dimension.low, dimension.high, dimension.log, dimension.step)


def suggest(trial: optuna.Trial, name: str, dimension: Plain) -> Any:
    """A trial's value of one parameter."""
    if isinstance(dimension, Choices):
        return trial.suggest_categorical(name, dimension.values)
    if dimension.whole:
        low, high = int(dimension.low), int(dimension.high)
        return trial.suggest_int(name, low, high, step=int(dimension.step or 1), log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, step=dimension.step, log=dimension.log)


def of_point(file: StudyFile, point: Mapping[str, Any]) -> dict[str, Any]:
    """A point of a study file: settings on which others depend are settled so that the point can be."""
    branch = next(one for one in file.branches if one.allows(point))
    found = {}
    for name, value in point.items():
        case = file.case(name, branch.values)
        assert case is not None  # the study file was checked
        found[case[0]] = value
        if isinstance(file.dimensions[name], Cases):
            found |= {one: branch.values[one] for one in file.conditions(name) if one in file.dimensions}
    return found
