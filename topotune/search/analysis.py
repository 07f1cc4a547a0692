"""A study read from outside, while a driver writes it too: nothing is locked, mended or changed."""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from topotune.folder import StudyFolder
from topotune.search import table
from topotune.search.space import StudyFile
from topotune.search.storage import open_journal

ENOUGH = 10  # complete trials, for importances: of fewer they are the luck of the draw


def open_read_only(folder: StudyFolder) -> optuna.Study | None:
    """The Optuna study of a folder; None where there is no journal.

    Raises:
        InputError: the journal is damaged.
    """
    if not folder.journal.exists():
        return None  # Optuna would begin one
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage, existing = open_journal(folder)
    return optuna.load_study(study_name=existing.study_name, storage=storage) if existing else None


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that count: those that ran to their end, each configuration once."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in trials if table.SAME not in trial.user_attrs]


def varied(study: optuna.Study) -> list[str]:
    """The searched settings of which the complete trials have more than one value, as the trials name them."""
    values: dict[str, set[Any]] = {}
    for trial in complete_trials(study):
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(value)
    return [name for name, own in values.items() if len(own) > 1]


def importances(study: optuna.Study) -> dict[str, float]:
    """The share of each setting in what the objective varies by, the largest first; nothing for fewer than 10 trials.

    PED-ANOVA (Watanabe, Bansal & Hutter, arXiv 2304.10255), Optuna's default: it needs no setting to be in every
    trial, so λ has a share although the control has none.
    """
    names, trials = varied(study), complete_trials(study)
    if len(trials) < ENOUGH or not names or len({tuple(trial.values) for trial in trials}) < 2:
        return {}
    return dict(optuna.importance.get_param_importances(study, params=names))


def judged(study: optuna.Study, file: StudyFile) -> optuna.Study:
    """The study with its constraints judged by the control as it is now, as tables do; in the journal each trial has
    them as they were when it ended. A copy in memory, where there are constraints."""
    if not file.constraints:
        return study
    trials = study.get_trials(deepcopy=False)
    control = table.control_values(trials, file)
    copy = optuna.create_study(study_name=study.study_name, directions=study.directions)
    for trial in trials:
        own = table.values_of(trial)
        copy.add_trial(
            optuna.trial.create_trial(
                state=trial.state,
                values=trial.values if own else None,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=trial.user_attrs,
                intermediate_values=trial.intermediate_values,
                constraints={one.words: one.excess(own, control) or 0.0 for one in file.constraints} if own else None,
            )
        )
    return copy


def pareto_front(study: optuna.Study, objectives: Sequence[str]) -> list[dict[str, Any]]:
    """The trials that keep the constraints, as told or as ``judged``, and that no other one beats in every objective,
    the best in the first one first; none for one objective.

    A row a trial: ``id``, then a value an objective.
    """
    if len(study.directions) < 2:
        return []
    sign = 1 if study.directions[0] == optuna.study.StudyDirection.MINIMIZE else -1
    own = [trial for trial in study.best_trials if table.SAME not in trial.user_attrs]
    own.sort(key=lambda trial: (sign * trial.values[0], trial.number))
    return [{"id": trial.number, **dict(zip(objectives, trial.values, strict=True))} for trial in own]
