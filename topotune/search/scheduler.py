"""Which settings are suggested, and which trials are stopped early: Optuna's samplers and pruners by name."""

import warnings

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from topotune.search.space import StudyFile


def make_sampler(file: StudyFile, seed: int) -> BaseSampler:
    """The study's sampler. TPE looks at the settings together, and apart for the control, which has fewer."""
    if file.option("study", "sampler") == "random":
        return RandomSampler(seed=seed)
    # constant_liar: trials that are still running count as poor, so that parallel ones spread out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # multivariate and group are called so
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


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
