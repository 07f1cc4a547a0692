"""What earlier studies measured, told to a new one: trials that it could have had itself, with their checkpoints."""

from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.files import replace_folder
from topotune.folder import SEED_FOLDER, StudyFolder, checkpoint_files, open_study
from topotune.search import table, verdict
from topotune.search.parameters import distribution
from topotune.search.space import Plain, StudyFile, within
from topotune.search.storage import open_journal
from topotune.search.study_file import load_study
from topotune.training import CONFIG, METRICS

WARM = "warm_start"  # the study's user attribute: the sources that it has been told of


class _Elsewhere(Exception):
    """A value that the new study cannot have."""


def warm_start(study: optuna.Study, file: StudyFile, folder: StudyFolder) -> list[str]:
    """Tell ``study`` of the trials of every source that it does not know yet; what came of that, a line each."""
    told = list(study.user_attrs.get(WARM, []))
    said = []
    for name in file.option("study", "warm_start"):
        if name in told:
            continue
        said.append(_tell(study, file, folder, name))
        told.append(name)
        study.set_user_attr(WARM, told)
    return said


def check_sources(file: StudyFile, folder: StudyFolder) -> None:
    """Whether the studies to start from are there.

    Raises:
        InputError: one is no study, or is the study itself.
    """
    for name in file.option("study", "warm_start"):
        try:
            source = open_study(Path(name), folder.path.parent)
        except InputError as error:
            raise InputError(f"[study] warm_start = {name!r}: {error}") from None
        if source.path == folder.path.resolve():
            raise InputError(f"[study] warm_start = {name!r} is the study itself; name earlier ones")


def _tell(study: optuna.Study, file: StudyFile, folder: StudyFolder, name: str) -> str:
    source = open_study(Path(name), folder.path.parent)
    there = load_study(source.study_file)
    storage, existing = open_journal(source)
    trials = storage.get_all_trials(existing._study_id, deepcopy=False) if existing else []
    ended = [one for one in trials if one.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    known = {one.user_attrs.get(table.SOURCE): one.number for one in study.get_trials(deepcopy=False)}
    measured = {one.user_attrs.get(table.HASH) for one in study.get_trials(deepcopy=False) if verdict.counts(one)}
    taken, reasons = 0, Counter[str]()
    for trial in ended:
        mark = f"{name}/{trial.number}"
        if table.SAME in trial.user_attrs or table.SOURCE in trial.user_attrs:
            continue  # measured elsewhere
        if mark in known:  # a driver was killed half-way
            _copy(source.trial(trial.number), folder.trial(known[mark]), trial.state)
            continue
        try:
            params = _parameters(file, there, trial)
        except _Elsewhere as error:
            reasons[str(error)] += 1
            continue
        if trial.user_attrs[table.HASH] in measured:
            reasons["measured before"] += 1
            continue
        number = _add(study, file, trial, (params, mark))
        _copy(source.trial(trial.number), folder.trial(number), trial.state)
        taken += 1
    left = "".join(f"; {count} left out: {why}" for why, count in reasons.items())
    return f"warm start: {taken} trials of {source.name!r} taken over{left}"


def _parameters(file: StudyFile, there: StudyFile, trial: FrozenTrial) -> dict[str, tuple[Any, Plain]]:
    """The trial's settings as parameters of the new study.

    Raises:
        _Elsewhere: the new study cannot have such a trial; why.
    """
    if (set(file.measures), file.replicates) != (set(there.measures), there.replicates):
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


def _add(
    study: optuna.Study, file: StudyFile, trial: FrozenTrial, new: tuple[dict[str, tuple[Any, Plain]], str]
) -> int:
    """Tell ``study`` of a trial with these parameters and this mark; its number there."""
    params, mark = new
    attrs = {
        name: value for name, value in trial.user_attrs.items() if name in (table.CONFIG, table.HASH, table.RECORD)
    }
    own = table.values_of(trial)
    # as of a trial that ends before the control's first
    excess = {one.words: one.excess(own, None) or 0.0 for one in file.constraints}
    study.add_trial(
        optuna.trial.create_trial(
            state=trial.state,
            values=[own[name] for name in file.objectives] if own else None,
            params={name: value for name, (value, _dimension) in params.items()},
            distributions={name: distribution(dimension) for name, (_value, dimension) in params.items()},
            intermediate_values=trial.intermediate_values,
            user_attrs=attrs | {table.SOURCE: mark},
            constraints=excess or None,
        )
    )
    return len(study.get_trials(deepcopy=False)) - 1


def _copy(source: Path, to: Path, state: TrialState) -> None:
    """The checkpoint of a complete trial, as far as it was kept; what it was of any other."""
    if not to.exists():
        files = checkpoint_files(source) if state == TrialState.COMPLETE else [source / CONFIG, source / METRICS]
        replace_folder(to, [file for file in files if file.exists()])
        for seed in source.glob(f"{SEED_FOLDER}*"):  # curves are means over the seeds
            replace_folder(to / seed.name, [file for file in (seed / CONFIG, seed / METRICS) if file.exists()])
