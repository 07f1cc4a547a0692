"""Which settings are suggested, and which trials are stopped early: Optuna's samplers and pruners by name."""

import warnings

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.trial import TrialState

from topotune.search.space import StudyFile


def make_sampler(file: StudyFile, seed: int) -> BaseSampler:
    """The study's sampler. TPE looks at the settings together, and apart for the control, which has fewer."""
    if file.option("study", "sampler") == "random":
        return RandomSampler(seed=seed)
    # constant_liar: trials that are still running count as poor, so that parallel ones spread out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # multivariate and group are called so
        return look_once(TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True))


def make_pruner(file: StudyFile) -> BasePruner:
    """The study's pruner; no trial is stopped before ``min_epochs``."""
    first, factor = file.option("budget", "min_epochs"), file.option("budget", "reduction_factor")
    match file.option("study", "pruner"):
        case "successive_halving":
            return SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)
        case "hyperband":
            return HyperbandPruner(min_resource=first, max_resource=file.epochs, reduction_factor=factor)
        case "median":
            return MedianPruner(n_warmup_steps=first)
        case _:
            return NopPruner()


class _Groups(_GroupDecomposedSearchSpace):
    """Optuna goes through all ended trials at every suggestion, a fifth of its time; once refined by a trial's
    settings, the groups stay as they are when they are refined by them again. For one sampler and its one study."""

    def __init__(self) -> None:
        super().__init__(include_pruned=True)
        self._seen: set[int] = set()

    def calculate(self, study: optuna.Study, use_cache: bool = False) -> _SearchSpaceGroup:
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        for trial in study._get_trials(deepcopy=False, states=states, use_cache=use_cache):
            if trial.number not in self._seen:
                self._seen.add(trial.number)
                self._search_space.add_distributions(trial.distributions)
        return self._search_space


def look_once(sampler: TPESampler) -> TPESampler:
    """The sampler, which suggests what it did before, in less time; for the one study that it is made for."""
    sampler._group_decomposed_search_space = _Groups()
    return sampler
