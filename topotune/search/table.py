"""The rows of trials.csv: what Optuna's study knows of each trial, and how the complete ones rank."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from topotune.config import NONE, unused_settings
from topotune.files import Row
from topotune.search.objectives import OBJECTIVES
from topotune.search.space import StudyFile

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
REPEATED = "repeated"  # the state of a trial whose settings had been measured before

# user attributes of a trial
FIRST = "first"  # the first trial of a topography: its name
CONFIG = "config"  # the settings
HASH = "config_hash"  # their hash, as it was then
SAME = "same_as"  # the number of the trial that has the same settings
SOURCE = "source"  # study/number of a trial that was measured elsewhere
RECORD = "record"  # what Optuna itself has no place for
DEVICES = "devices"  # how many the trial takes
KEPT = "runs_to_its_end"  # the first configuration of a topography: it is never stopped early
POINT = "point"  # a point of the study file's own


def columns(file: StudyFile) -> list[str]:
    """The columns of trials.csv."""
    searched = [name for name in file.dimensions if name not in ("topography", "weight")]
    several = ["pareto"] if len(file.objectives) > 1 else []
    kept = ["feasible"] if file.constraints else []
    error = ["standard_error"] if file.replicates > 1 else []
    elsewhere = [SOURCE] if file.option("study", "warm_start") else []
    return [
        "id", "state", "rank", "config_hash", "topography", "weight", *searched, "validation_accuracy", *error,
        *extra(file), *several, *kept, "epochs", "seconds", "start_seconds", *elsewhere, "reason",
    ]  # fmt: skip


def extra(file: StudyFile) -> list[str]:
    """The metrics that a trial of this study has beside those that every trial has."""
    return [name for name in file.measures if name not in ("validation_accuracy", "seconds")]


def rows(trials: Sequence[FrozenTrial], file: StudyFile) -> list[Row]:
    """One row a trial, in the order of their numbers."""
    control = control_values(trials, file) if file.constraints else None
    found = [_row(trial, file, control) for trial in trials if trial.state in STATES]
    _rank(found, file)
    names = columns(file)
    return [{name: row[name] for name in names} for row in found]


def row(trial: FrozenTrial, file: StudyFile) -> Row:
    """One trial's row, without its rank among the others."""
    return {name: value for name, value in _row(trial, file, None).items() if name in columns(file)}


def values_of(trial: FrozenTrial) -> dict[str, float]:
    """All metrics of a complete trial; none of another, also if a driver was killed as it completed it."""
    if trial.state != TrialState.COMPLETE:
        return {}
    record = trial.user_attrs[RECORD]
    # a study of before there were other objectives
    return dict(record.get("values") or {"validation_accuracy": trial.value, "seconds": record["seconds"]})


def control_values(trials: Sequence[FrozenTrial], file: StudyFile) -> dict[str, float] | None:
    """The metrics of the control's best trial so far, by the first objective."""
    own = [values_of(one) for one in complete(trials) if one.user_attrs[CONFIG]["topography"] == NONE]
    first = file.objectives[0]
    return max(own, key=lambda values: worth(first, values[first]), default=None)


def complete(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that were measured to their end, in this study or in one that it began with."""
    return [one for one in trials if one.state == TrialState.COMPLETE and SAME not in one.user_attrs]


def worth(metric: str, value: float) -> float:
    """A metric's value where more is better."""
    return value if OBJECTIVES[metric].direction == "maximize" else -value


def is_front(values: Sequence[Mapping[str, float]], file: StudyFile) -> list[bool]:
    """Which of these are on the Pareto front: nothing is as good in every objective and better in one."""
    losses = np.array([[-worth(name, one[name]) for name in file.objectives] for one in values])
    return [not bool(((losses <= own).all(1) & (losses < own).any(1)).any()) for own in losses]


def directions(file: StudyFile) -> list[StudyDirection]:
    """What Optuna is told of each objective."""
    return [StudyDirection[OBJECTIVES[name].direction.upper()] for name in file.objectives]


def _row(trial: FrozenTrial, file: StudyFile, control: Mapping[str, float] | None) -> Row:
    attrs, values = trial.user_attrs, trial.intermediate_values
    config, record = attrs.get(CONFIG, {}), attrs.get(RECORD, {})
    own = values_of(trial)
    excess = [one.excess(own, control) for one in file.constraints]
    state = STATES[trial.state]
    known = {step: value for step, value in values.items() if step <= file.epochs}
    return {
        "id": trial.number,
        "state": REPEATED if SAME in attrs and state != "running" else state,
        "rank": None,
        "config_hash": attrs.get(HASH),
        "topography": config.get("topography"),
        "weight": config.get("weight"),
        **{name: _told(config, name) for name in file.dimensions if name not in ("topography", "weight")},
        "validation_accuracy": own.get("validation_accuracy", max(known.values(), default=None)),
        "standard_error": record.get("standard_error"),
        **{name: own.get(name) for name in extra(file)},
        "pareto": None,
        "feasible": None if not own else not any(one is not None and one > 0 for one in excess),
        "epochs": record.get("epochs", max(known, default=0)),
        "seconds": record.get("seconds"),
        "start_seconds": record.get("start_seconds"),
        SOURCE: attrs.get(SOURCE),
        "reason": record.get("reason") or (f"as trial {attrs[SAME]}" if SAME in attrs else None),
        "objectives": {name: own[name] for name in file.objectives} if own else {},
    }


def _told(config: Mapping[str, Any], name: str) -> Any:
    """A setting of a trial; None where it cannot matter, as the control's loss."""
    about = {key: config[key] for key in ("topography", "loss", "strength") if key in config}
    return None if about and name in unused_settings(**about) else config.get(name)


def _rank(found: list[Row], file: StudyFile) -> None:
    """Rank the complete rows: those that keep the constraints first, then by the first objective."""
    first = file.objectives[0]
    own = [row for row in found if row["state"] == "complete" and row["objectives"]]
    own.sort(key=lambda row: (not row["feasible"], -worth(first, row["objectives"][first]), row["id"]))
    feasible = [row for row in own if row["feasible"]]
    if len(file.objectives) > 1:
        for row, front in zip(feasible, is_front([row["objectives"] for row in feasible], file), strict=True):
            row["pareto"] = front
    for rank, row in enumerate(own, start=1):
        row["rank"] = rank
