"""Whether a study file's parts go together: found now, and not in the night."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from topotune.config import TrialConfig, check_size, unused_settings
from topotune.data import DATASETS, dataset_entry
from topotune.errors import InputError
from topotune.search.options import ENQUEUE
from topotune.search.space import Cases, Choices, Range, StudyFile, config_of, ends_of


def check_whole(study: StudyFile, where: str) -> None:
    """Check a study file of which every part is sound.

    Raises:
        InputError: a combination that no trial can have, or that means nothing.
    """
    from topotune.search import scheduler  # Optuna: a quarter of a second that a wrong key need not wait for

    try:
        _check_conditions(study)
        _check_weight(study)
        _check_extremes(study)
        for name in study.choices("dataset"):
            if name in DATASETS:
                _check_batch(study, name, DATASETS[name].train)
        _check_effort(study)
        for point in study.points:
            check_point(study, point)
        _check_per(study)
        scheduler.check(study)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def check_own_data(study: StudyFile, root: Path | None) -> None:
    """What ``check_whole`` checks of the known data sets, of a user's own, which must be looked at for that.

    Raises:
        InputError: they are missing or damaged, too few for a batch, or too small for a network.
    """
    for name in study.choices("dataset"):
        if name not in DATASETS:
            entry = dataset_entry(name, root)
            _check_batch(study, name, entry.train)
            for model in study.choices("model"):
                check_size(model, name, entry)


def check_layers(study: StudyFile) -> None:
    """Whether every network that the study can try has the layers that it names. Imports torch.

    Raises:
        InputError: a name or pattern that matches no layer, or one that a loss cannot be taken of.
    """
    from topotune.training import arrangement

    dataset = study.choices("dataset")[0]
    names = ("model", "layers", "loss")
    for model, layers, loss in {one for branch in study.branches for one in product(*map(branch.choices, names))}:
        arrangement.check_layers(
            TrialConfig(dataset=dataset, model=model, layers=layers, loss=loss, topography="sheet", weight=1.0)
        )


def check_point(study: StudyFile, point: Mapping[str, Any]) -> None:
    """Whether a trial of the study can have these settings.

    Raises:
        InputError: one is not searched, has another value, or means nothing beside the others.
    """
    place = f"[[{ENQUEUE}]]"
    for name in point:
        if name not in study.dimensions:
            raise InputError(f"{place} {name} is not searched here; searched are {', '.join(study.dimensions)}")
    if not any(branch.allows(point) for branch in study.branches):
        shown = ", ".join(f"{name} = {value!r}" for name, value in point.items())
        raise InputError(f"{place} {shown}: no trial of this study can be that; see its choices, ranges and conditions")


def _check_per(study: StudyFile) -> None:
    known = [name for name in study.sections["scientific"] if name in study.dimensions and name != "topography"]
    for name in study.option("confirm", "per"):
        if name not in known:
            raise InputError(
                f"[confirm] per: {name!r} is not searched in [scientific] beside topography (each is confirmed "
                f"in any case); choose from {', '.join(known) or 'nothing'}"
            )


def _check_conditions(study: StudyFile) -> None:
    if isinstance(study.dimensions.get("topography"), Cases):
        raise InputError("topography has no conditions: every trial has one, and the control is always part of a study")
    try:
        study.order  # noqa: B018 (it is found as it is asked for)
    except ValueError as error:
        raise InputError(f"{error}: its conditions go round in a circle") from None
    for name, dimension in study.dimensions.items():
        for case in dimension.cases if isinstance(dimension, Cases) else ():
            for other, wanted in case.when.items():
                _check_condition(study, name, other, wanted)


def _check_condition(study: StudyFile, name: str, other: str, wanted: tuple[Any, ...]) -> None:
    dimension = study.dimensions.get(other)
    plain = [case.dimension for case in dimension.cases] if isinstance(dimension, Cases) else [dimension]
    if any(isinstance(one, Range) for one in plain):
        raise InputError(f"{name}: when {other}: it is a range; conditions are about settings with choices")
    there = study.choices(other)
    for value in wanted:
        if value not in there:
            known = ", ".join(map(str, there))
            raise InputError(f"{name}: when {other} = {value!r}: it never is, in this study; choose from {known}")


def _check_weight(study: StudyFile) -> None:
    weighed = [name for name in study.topographies if "weight" not in unused_settings(name)]
    if weighed and study.ends("weight")[0] == 0:
        raise InputError(
            "weight, λ, can be 0 here (that is its default): give it values above 0; the control is part of the study "
            "in any case"
        )


def _check_extremes(study: StudyFile) -> None:
    named = ("dataset", "model")
    for branch in study.branches:
        every = {name: one.values if isinstance(one, Choices) else ends_of(one) for name, one in branch.open.items()}
        many = {name: (min(values), max(values)) for name, values in every.items() if name not in named}
        for ends in ((0, 0), (1, 1), (0, 1)):  # the least and the most of all, and the least batch in the most parts
            values = {name: two[ends[name == "accumulate"]] for name, two in many.items()}
            for names in product(*(every.get(name, (None,)) for name in named)):
                given = {name: one for name, one in zip(named, names, strict=True) if one is not None}
                config_of(branch.values | values | given)


def _check_batch(study: StudyFile, name: str, samples: int) -> None:
    largest = study.ends("batch_size")[1]
    if largest > samples:
        raise InputError(f"batch_size = {largest} is more than the {samples} training images of {name!r}")


def _check_effort(study: StudyFile) -> None:
    minimum = study.option("budget", "min_epochs")
    if minimum > study.epochs:
        raise InputError(f"[budget] min_epochs = {minimum} is more than the trials' {study.epochs} epochs")
    if "workers" in study.dimensions:
        raise InputError("workers cannot be searched: all trials of a study ask for the same resources")
    if "seed" in study.dimensions:
        raise InputError("seed cannot be searched: confirm needs seeds that the search has not seen")
