"""What earlier studies measured, told to a new one: trials that it could have had itself, with their checkpoints."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.folder import StudyFolder, checkpoint_files, open_study
from topotune.search import table
from topotune.search.parameters import distribution
from topotune.search.space import Plain, StudyFile, within
from topotune.search.storage import open_journal
from topotune.search.study_file import load_study

WARM = "warm_start"  # the study's user attribute: the sources that it has been told of


class _Elsewhere(Exception):
    """A value that the new study cannot have."""


def warm_start(study: optuna.Study, file: StudyFile, folder: StudyFolder) -> list[str]:
    """Tell ``study`` of the trials of every source that it does not know yet; what came of that, a line each.

    Raises:
        InputError: a source is no study, or is the study itself.
    """
    told = list(study.user_attrs.get(WARM, []))
    said = []
    for name in file.option("study", "warm_start"):
        if name in told:
            continue
        source = open_study(Path(name), folder.path.parent)
        if source.path == folder.path.resolve():
            raise InputError(f"[study] warm_start = {name!r} is the study itself; name earlier ones")
        said.append(_tell(study, file, folder, source))
        told.append(name)
        study.set_user_attr(WARM, told)
    return said


def _tell(study: optuna.Study, file: StudyFile, folder: StudyFolder, source: StudyFolder) -> str:
    there = load_study(source.study_file)
    storage, existing = open_journal(source)
    trials = storage.get_all_trials(existing._study_id, deepcopy=False) if existing else []
    ended = [one for one in trials if one.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    known = {one.user_attrs.get(table.SOURCE) for one in study.get_trials(deepcopy=False)}
    taken, reasons = 0, Counter[str]()
    for trial in ended:
        mark = f"{source.name}/{trial.number}"
        if table.SAME in trial.user_attrs or table.SOURCE in trial.user_attrs or mark in known:
            continue  # measured elsewhere, or a driver was killed half-way
        try:
            params = _parameters(file, there, trial)
        except _Elsewhere as error:
            reasons[str(error)] += 1
            continue
        number = _add(study, trial, params, mark)
        if trial.state == TrialState.COMPLETE:
            _copy(source.trial(trial.number), folder.trial(number))
        taken += 1
    left = "".join(f"; {count} left out: {why}" for why, count in reasons.items())
    return f"warm start: {taken} trials of {source.name!r} taken over{left}"


def _parameters(file: StudyFile, there: StudyFile, trial: FrozenTrial) -> dict[str, tuple[Any, Plain]]:
    """The trial's settings as parameters of the new study.

    Raises:
        _Elsewhere: the new study cannot have such a trial; why.
    """
    if (file.measures, file.replicates) != (there.measures, there.replicates):
        raise _Elsewhere("it measures something else")
    try:
        config = TrialConfig.from_dict(trial.user_attrs[table.CONFIG])
    except InputError as error:
        raise _Elsewhere(str(error)) from None
    found: dict[str, tuple[Any, Plain]] = {}
    values = config.to_dict()

    def choose(parameter: str, dimension: Plain) -> Any:
        name = parameter.partition(" ")[0]
        if not within(values[name], dimension):
            raise _Elsewhere(f"{name} outside of what is searched now")
        found[parameter] = (values[name], dimension)
        return values[name]

    mine = file.suggest(choose)
    if mine.hash != config.hash:
        own = mine.to_dict()
        different = [name for name, value in values.items() if own[name] != value and name not in ("device", "threads")]
        raise _Elsewhere(f"another {', '.join(different)}")
    return found


def _add(study: optuna.Study, trial: FrozenTrial, params: dict[str, tuple[Any, Plain]], mark: str) -> int:
    attrs = {
        name: value for name, value in trial.user_attrs.items() if name in (table.CONFIG, table.HASH, table.RECORD)
    }
    study.add_trial(
        optuna.trial.create_trial(
            state=trial.state,
            values=trial.values if trial.state == TrialState.COMPLETE else None,
            params={name: value for name, (value, _dimension) in params.items()},
            distributions={name: distribution(dimension) for name, (_value, dimension) in params.items()},
            intermediate_values=trial.intermediate_values,
            user_attrs=attrs | {table.SOURCE: mark},
        )
    )
    return len(study.get_trials(deepcopy=False)) - 1


def _copy(source: Path, to: Path) -> None:
    """The checkpoint, as far as it was kept."""
    to.mkdir(parents=True, exist_ok=True)
    for file in checkpoint_files(source):
        if file.exists():
            shutil.copy2(file, to / file.name)
