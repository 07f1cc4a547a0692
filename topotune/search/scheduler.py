"""Which settings are suggested, and which trials are stopped early: Optuna's samplers and pruners by name, each with
Optuna's own options as far as a study file can say them."""

import inspect
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna import pruners, samplers
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, BruteForceSampler

from topotune.errors import InputError, unknown
from topotune.search.space import StudyFile, count


class _Grid(BruteForceSampler):
    """Every configuration once. The study itself knows when there are no more."""

    def after_trial(self, *_trial: Any) -> None:
        """Nothing: Optuna's own would stop a loop that is not there."""


@dataclass(frozen=True)
class Entry:
    """A sampler or pruner: its class, what is set unless a study file says otherwise, and what it cannot do."""

    kind: Callable[..., Any]
    defaults: dict[str, Any] = field(default_factory=dict)
    finite: bool = False  # needs a finite space
    single: bool = False  # knows one objective only
    remembers: bool = False  # where it was, by its seed


SAMPLERS: dict[str, Entry] = {
    # looks at the settings together, and apart for the control, which has fewer; trials that are still running count
    # as poor, so that parallel ones spread out
    "tpe": Entry(samplers.TPESampler, {"multivariate": True, "group": True, "constant_liar": True}),
    "gp": Entry(samplers.GPSampler, {"warn_independent_sampling": False}),
    "cmaes": Entry(samplers.CmaEsSampler, {"warn_independent_sampling": False}, single=True),
    "nsga2": Entry(samplers.NSGAIISampler),
    "nsga3": Entry(samplers.NSGAIIISampler),
    "random": Entry(samplers.RandomSampler),
    "quasirandom": Entry(samplers.QMCSampler, {
        "scramble": True, "warn_independent_sampling": False, "warn_asynchronous_seeding": False,
    }, remembers=True),
    "grid": Entry(_Grid, finite=True),
}  # fmt: skip

PRUNERS: dict[str, Callable[..., BasePruner]] = {
    "successive_halving": pruners.SuccessiveHalvingPruner,
    "hyperband": pruners.HyperbandPruner,
    "median": pruners.MedianPruner,
    "percentile": pruners.PercentilePruner,
    "patient": pruners.PatientPruner,
    "threshold": pruners.ThresholdPruner,
    "none": pruners.NopPruner,
}
WRAPPED = ("successive_halving", "hyperband", "median", "none")  # what ``patient`` can wait with

# the least that an option can be where that is not 0: Optuna takes most of what is less, and fails in the night
LEAST: dict[str, float] = {
    "lower": -math.inf, "upper": -math.inf, "inc_popsize": -1, "n_ei_candidates": 1, "popsize": 2,
    "dividing_parameter": 1, "reduction_factor": 2,
}  # fmt: skip
ABOVE_0 = ("sigma0", "prior_weight")


def make_sampler(file: StudyFile, done: int) -> BaseSampler:
    """The study's sampler, for a study with so many trials.

    Raises:
        InputError: an option that it does not have, or a value that it does not take.
    """
    name = file.option("study", "sampler")
    entry, given = SAMPLERS[name], file.sections["sampler"]
    # another seed after a restart: the same one would suggest the first trials again
    seed = file.option("study", "seed") + (0 if entry.remembers else done)
    sampler: BaseSampler = _make("sampler", name, entry.kind, given, entry.defaults | given | {"seed": seed})
    return sampler


def make_chance(seed: int) -> BaseSampler:
    """Any configuration, each as likely."""
    return samplers.RandomSampler(seed=seed)


def make_pruner(file: StudyFile) -> BasePruner:
    """The study's pruner; no trial is stopped before ``min_epochs``.

    Raises:
        InputError: an option that it does not have, does not take, or must have.
    """
    name, given = file.option("study", "pruner"), dict(file.sections["pruner"])
    options = _of_budget(file, name)
    if name == "patient":  # it waits before it does what another one says; without one it asks for progress alone
        wrapped = given.pop("wrapped", None)
        if wrapped is not None and wrapped not in WRAPPED:
            raise unknown("pruner", wrapped, WRAPPED, "[pruner] wrapped")
        options = {"wrapped_pruner": PRUNERS[wrapped](**_of_budget(file, wrapped)) if wrapped else None}
    pruner: BasePruner = _make("pruner", name, PRUNERS[name], given, options | given)
    return pruner


def check(file: StudyFile) -> None:
    """Whether sampler and pruner can do what the study asks.

    Raises:
        InputError: they cannot.
    """
    sampler, pruner = file.option("study", "sampler"), file.option("study", "pruner")
    if SAMPLERS[sampler].finite and file.size() == float("inf"):
        endless = next(name for name in file.dimensions if _endless(file, name))
        raise InputError(
            f"[study] sampler = {sampler!r} tries every configuration, but {endless} is a range without end; "
            "give it choices, or a step"
        )
    if len(file.objectives) > 1 and SAMPLERS[sampler].single:
        able = ", ".join(name for name, entry in SAMPLERS.items() if not entry.single)
        raise InputError(f"[study] sampler = {sampler!r} knows one objective only; with several, choose from {able}")
    if file.objectives != ("validation_accuracy",) and pruner != "none":
        raise InputError(
            f"[study] pruner = {pruner!r} stops trials by their validation accuracy, which is not what is optimised "
            f"({', '.join(file.objectives)}); it must be 'none'"
        )
    make_sampler(file, 0)
    make_pruner(file)
    first = file.sections["pruner"].get("min_resource", 0)
    if isinstance(first, int) and first > file.epochs:
        raise InputError(f"[pruner] min_resource = {first} is more than the trials' {file.epochs} epochs")
    last, least = file.sections["pruner"].get("max_resource"), first or file.option("budget", "min_epochs")
    if isinstance(last, int) and isinstance(least, int) and last < max(least, 1):
        raise InputError(f"[pruner] max_resource = {last} is less than the {max(least, 1)} epochs of the first rung")


def _of_budget(file: StudyFile, name: str) -> dict[str, Any]:
    """What [budget] says to a pruner."""
    first, factor = file.option("budget", "min_epochs"), file.option("budget", "reduction_factor")
    halving = {"min_resource": first, "reduction_factor": factor}
    return {
        "successive_halving": halving,
        "hyperband": halving | {"max_resource": file.epochs},
        "median": {"n_warmup_steps": first},
        "percentile": {"n_warmup_steps": first},
        "threshold": {"n_warmup_steps": first},
    }.get(name, {})


def _make(section: str, name: str, kind: Callable[..., Any], given: dict[str, Any], options: dict[str, Any]) -> Any:
    known = _options(kind)
    for key, value in given.items():
        if key not in known:
            raise unknown(f"option of {name}", key, known, f"[{section}]")
        if not isinstance(value, known[key]) or (isinstance(value, bool) and bool not in known[key]):
            wanted = " or ".join(one.__name__ for one in known[key])
            raise InputError(f"[{section}] {key} = {value!r} must be: {wanted}")
        if isinstance(value, int | float):
            _check_number(section, key, value)
    parameters = inspect.signature(kind).parameters
    if lacking := [key for key in known if parameters[key].default is inspect.Parameter.empty and key not in options]:
        wanted = ", ".join(f"{key} ({' or '.join(one.__name__ for one in known[key])})" for key in lacking)
        raise InputError(f"[{section}] {name} needs {wanted}")
    # multivariate and group, GP and the like are called experimental; a study file that names them wants them
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("error", FutureWarning)  # an option that does nothing any more
        try:
            return kind(**options)
        except (TypeError, ValueError, FutureWarning) as error:
            raise InputError(f"[{section}] {name}: {' '.join(str(error).split())}") from None


def _check_number(section: str, key: str, value: float) -> None:
    least = LEAST.get(key, 0)
    if not math.isfinite(value) or value < least or (value == 0 and key in ABOVE_0):
        wanted = "above 0" if key in ABOVE_0 else "finite" if least == -math.inf else f"finite and >= {least}"
        raise InputError(f"[{section}] {key} = {value!r} must be {wanted}")


def _options(kind: Callable[..., Any]) -> dict[str, tuple[type, ...]]:
    """The options that a study file can give: those that are plain values, with their types."""
    plain = {"bool": (bool,), "int": (int,), "float": (float, int), "str": (str,)}
    found: dict[str, tuple[type, ...]] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        # annotations are text or types in Optuna; where there is none, there is a default
        hint = type(parameter.default) if parameter.annotation is parameter.empty else parameter.annotation
        words = (hint.__name__ if isinstance(hint, type) else str(hint)).split(" | ")
        if kinds := tuple(one for word in words for one in plain.get(word, ())):
            found[name] = tuple(dict.fromkeys(kinds))
    return {name: kinds for name, kinds in found.items() if name != "seed"}


def _endless(file: StudyFile, name: str) -> bool:
    return any(name in branch.open and count(branch.open[name]) == float("inf") for branch in file.branches)
