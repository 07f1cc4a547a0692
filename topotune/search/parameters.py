"""A study file's settings as Optuna's parameters."""

import json
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from topotune.config import NONE
from topotune.search import table
from topotune.search.space import Choices, Plain, StudyFile, spelled


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
    value = trial.suggest_float(name, dimension.low, dimension.high, step=dimension.step, log=dimension.log)
    return spelled(value, dimension)


def of_point(file: StudyFile, point: Mapping[str, Any]) -> dict[str, Any]:
    """A point of a study file, with whatever decides on its settings, so that a trial can be it: where it does not say
    which topography, it is not the control's."""
    fitting = [one for one in file.branches if one.allows(point)]
    branch = next((one for one in fitting if one.values.get("topography", NONE) != NONE), fitting[0])
    values = branch.values | dict(point)
    found = {}
    for name in file.order:
        case = file.case(name, values) if name in values else None
        if case:
            found[case[0]] = spelled(values[name], case[1])
    return found


def enqueue_first(study: optuna.Study, file: StudyFile) -> None:
    """A study file's own points come first; and every variant that is confirmed, the control and each topography at
    least, is tried at least once, with otherwise suggested settings."""
    there = study.get_trials(deepcopy=False)
    known = {trial.user_attrs.get(table.POINT) for trial in there}
    for point in file.points:
        mark = json.dumps(point, sort_keys=True)
        if mark not in known:  # a driver may have been killed between two of them
            study.enqueue_trial(of_point(file, point), user_attrs={table.POINT: mark})
    first = {trial.user_attrs.get(table.FIRST) for trial in there}
    for one in file.variants() or [{"topography": topography} for topography in file.topographies]:
        searched = {name: value for name, value in one.items() if name in file.dimensions}
        mark = one["topography"] if len(one) == 1 else json.dumps(one, sort_keys=True)
        if searched and mark not in first:
            study.enqueue_trial(searched if len(one) == 1 else of_point(file, one), user_attrs={table.FIRST: mark})
