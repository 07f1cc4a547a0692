"""Looking at every trial once changes no suggestion."""

import random
from typing import Any

import optuna
import pytest
from optuna.samplers import TPESampler

from topotune.search.scheduler import look_once

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def suggestions(sampler: TPESampler, trials: int) -> list[dict[str, Any]]:
    """Of a search with settings that depend on others, where two run at a time and the later one may end first."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, chance, running = optuna.create_study(direction="maximize", sampler=sampler), random.Random(0), []
    for _ in range(trials):
        trial = study.ask()
        rate = trial.suggest_float("learning_rate", 0.001, 0.3, log=True)
        if trial.suggest_categorical("topography", ("none", "grid2d", "grid2d-learned")) != "none":
            trial.suggest_float("weight", 0.001, 10.0, log=True)
        if trial.params["topography"] == "grid2d-learned":
            trial.suggest_int("swap_every", 1, 5)
        running.append((trial, rate))
        if len(running) == 2:
            ended, value = running.pop(chance.randrange(2))
            ended.report(value, 1)
            state = chance.choice([optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED])
            study.tell(ended, value if state == optuna.trial.TrialState.COMPLETE else None, state=state)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_suggestions_are_those_of_optunas_own_groups(seed: int) -> None:
    def sampler() -> TPESampler:
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)

    own = suggestions(look_once(sampler()), 60)
    assert own == suggestions(sampler(), 60)
    assert any("swap_every" in one for one in own[20:])


def test_every_ended_trial_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from optuna.search_space.group_decomposed import _SearchSpaceGroup

    looks, real = [], _SearchSpaceGroup.add_distributions
    monkeypatch.setattr(_SearchSpaceGroup, "add_distributions", lambda *given: looks.append(1) or real(*given))
    sampler = look_once(TPESampler(seed=0, multivariate=True, group=True, constant_liar=True))
    suggestions(sampler, 60)
    assert len(looks) <= 60
