"""What a study would do, and what it would take: counted from its file, and timed on this machine if asked for."""

import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from topotune.data import dataset_entry, steps_per_epoch
from topotune.search.objectives import OBJECTIVES
from topotune.search.space import Cases, Choices, Dimension, Plain, StudyFile, config_of, ends_of

GRID_POINTS = 12  # the values that a continuous setting has in the grid: as many λ as the first paper searched
HOUR = 3600.0


def plan(file: StudyFile, data: Path | None = None) -> dict[str, Any]:
    """What a study would do, in numbers; nothing is trained.

    The full grid takes every choice, and 12 values of every range without steps, of the settings that a trial has, on
    as many seeds as the search.
    ``data`` is the folder of a user's own data, which are counted; other data sets need not be there.
    """
    grid = int(file.size(GRID_POINTS))
    trials = int(min(file.option("budget", "trials"), file.size()))  # no configuration is tried twice
    workers = int(file.constants.get("workers", 1))
    smallest = int(file.ends("batch_size")[0])  # the most steps
    samples = [dataset_entry(name, data).train for name in file.choices("dataset")]
    steps = max(steps_per_epoch(count, smallest, workers) for count in samples)
    epochs = trials * file.epochs * file.replicates
    # a variant that no trial was about cannot be confirmed
    variants = file.variants()
    confirmed = (trials if variants is None else min(len(variants), trials)) * file.option("confirm", "seeds")
    return {
        "study": file.name,
        "study_hash": file.hash,
        "searched": {name: _words(dimension) for name, dimension in file.dimensions.items()},
        "fixed": file.constants,
        "objectives": list(file.objectives),
        "constraints": [one.words for one in file.constraints],
        "measured": {name: OBJECTIVES[name].cost for name in file.measures if OBJECTIVES[name].cost},
        "pruner": file.option("study", "pruner"),
        "trials": trials,
        "workers": workers,
        "replicates": file.replicates,
        "epochs_per_trial": file.epochs,
        "steps_per_epoch": steps,
        "search_epochs_at_most": epochs,
        "search_steps_at_most": epochs * steps,
        "confirmed_models": confirmed,
        "confirm_epochs": confirmed * file.epochs,
        "pruned_evaluations": confirmed * _ways_to_prune(file),
        "full_grid_trials": grid,
        "full_grid_epochs": grid * file.epochs * file.replicates,
        "full_grid_is_all": grid == file.size(),
    }


def calibrate(file: StudyFile, data: Path | None, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the plan ``found`` would take on machines like this one: a few steps of every model and data set are timed.

    Hours are of GPUs, or of CPU cores where there are none. The means over models and data sets are taken, as if each
    were tried as often.

    Raises:
        InputError: the data are missing or damaged.
    """
    import torch

    from topotune.training.calibrate import seconds_per_epoch
    from topotune.training.device import pick_device

    timed = {}
    for branch in file.branches:
        least = branch.values | {name: ends_of(one)[0] for name, one in branch.open.items()}
        for model, dataset in product(*map(branch.choices, ("model", "dataset"))):
            config = config_of(least | {"model": model, "dataset": dataset})
            if (model, dataset) not in timed or config.topographic:  # which costs a little more
                timed[model, dataset] = config
    one = next(iter(timed.values()))
    on_gpu = pick_device(one.device).type == "cuda"
    cpus, gpus = (file.option("budget", f"{kind}_per_worker") for kind in ("cpus", "gpus"))
    each = (1.0 if gpus == "auto" else gpus) if on_gpu else cpus
    # a rank has as many threads as CPUs, as on a cluster
    own = {key: config.replace(threads=config.threads or max(int(cpus), 1)) for key, config in timed.items()}
    seconds = {key: seconds_per_epoch(config, data) for key, config in own.items()}
    hours = sum(seconds.values()) / len(seconds) * one.workers * each / HOUR  # device-hours of an epoch
    share = _not_stopped(file)
    here = torch.cuda.device_count() if on_gpu else os.cpu_count() or 1
    trial = hours * file.epochs * file.replicates * (share or 1.0)
    return {
        "timed_on": torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} CPU threads",
        "device": "GPU" if on_gpu else "CPU",
        "seconds_per_epoch": {" on ".join(key): round(value, 2) for key, value in seconds.items()},
        "search_hours_at_most": hours * found["search_epochs_at_most"],
        "search_hours_with_stopping": None if share is None else hours * found["search_epochs_at_most"] * share,
        "confirm_hours": hours * found["confirm_epochs"],
        "full_grid_hours": hours * found["full_grid_epochs"],
        "trials_in_budget": _fitting(file, trial, here // (each * one.workers) * each * one.workers),
    }


def _fitting(file: StudyFile, trial: float, here: float) -> int | None:
    """How many trials the budget has time for; None where it has no limit of time.

    trial: device-hours of one. here: how many devices of this machine trials can take at once.
    """
    limits = [file.option("budget", "device_hours"), file.option("budget", "hours") * here]
    return min((int(limit / trial) for limit in limits if limit), default=None)


def plan_text(found: Mapping[str, Any], timed: Mapping[str, Any] | None = None) -> str:
    """The plan for a reader."""
    searched = [f"  {name:15} {words}" for name, words in found["searched"].items()]
    fixed = [f"  {name:15} {value}" for name, value in found["fixed"].items()]
    share = found["search_epochs_at_most"] / max(found["full_grid_epochs"], 1)
    seeds = f" on {found['replicates']} seeds" if found["replicates"] > 1 else ""
    values = "" if found["full_grid_is_all"] else f" ({GRID_POINTS} values a range)"
    fewer = "" if found["pruner"] == "none" else "; stopped trials take fewer"
    asked = ", ".join(found["objectives"]) + "".join(f"; {one}" for one in found["constraints"])
    return "\n".join(
        [
            f"study {found['study']} ({found['study_hash']})",
            "searched:",
            *(searched or ["  nothing"]),
            "fixed:",
            *fixed,
            f"asked:     {asked}",
            *(f"           {name} takes {cost}" for name, cost in found["measured"].items()),
            f"search:    {found['trials']} trials of {found['workers']} worker(s), at most {found['epochs_per_trial']} "
            f"epochs of {found['steps_per_epoch']} steps each{seeds}",
            f"           at most {found['search_epochs_at_most']:,} epochs, {found['search_steps_at_most']:,} steps"
            + fewer,
            f"confirm:   {found['confirmed_models']} models, {found['confirm_epochs']:,} epochs",
            f"prune:     {found['pruned_evaluations']:,} evaluations",
            f"full grid: {found['full_grid_trials']:,} trials, {found['full_grid_epochs']:,} epochs{seeds}{values}; "
            f"the search takes at most {share:.1%} of it",
            *(_hours(timed) if timed else ()),
        ]
    )


def _hours(timed: Mapping[str, Any]) -> list[str]:
    unit = f"{timed['device']}-hours"
    stopped, trials = timed["search_hours_with_stopping"], timed["trials_in_budget"]
    about = "" if stopped is None else f", about {_number(stopped)} with early stopping"
    return [
        f"timed on {timed['timed_on']}:",
        *(f"  {name}: {seconds:g} s an epoch" for name, seconds in timed["seconds_per_epoch"].items()),
        f"  search at most {_number(timed['search_hours_at_most'])} {unit}{about}; "
        f"confirm {_number(timed['confirm_hours'])}; full grid {_number(timed['full_grid_hours'])}",
        *([f"  the budget's time is enough for about {trials:,} trials, here"] if trials is not None else []),
    ]


def _number(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


def _not_stopped(file: StudyFile) -> float | None:
    """The share of the epochs that successive halving leaves, if of ``factor`` trials that reach a rung one passes it;
    None for pruners of which that cannot be said."""
    if file.option("study", "pruner") not in ("successive_halving", "hyperband"):
        return None
    rung, factor = file.option("budget", "min_epochs"), file.option("budget", "reduction_factor")
    epochs, passing, before = 0.0, 1.0, 0
    while before < file.epochs:
        until = min(rung, file.epochs)
        epochs, before = epochs + passing * (until - before), until
        rung, passing = rung * factor, passing / factor
    return epochs / file.epochs


def _ways_to_prune(file: StudyFile) -> int:
    criterion, tuned = file.option("prune", "criterion"), file.option("prune", "finetune_epochs") > 0
    criteria = len(criterion) if isinstance(criterion, list) else 1
    proportions = ("proportions", *["finetune_proportions"] * tuned)
    return criteria * sum(len(file.option("prune", name)) for name in proportions)


def _words(dimension: Dimension) -> str:
    if isinstance(dimension, Cases):
        return "; ".join(_plain_words(case.dimension) + _condition_words(case.when) for case in dimension.cases)
    return _plain_words(dimension)


def _condition_words(when: Mapping[str, Sequence[Any]]) -> str:
    conditions = (f"{name} is {' or '.join(map(str, values))}" for name, values in when.items())
    return f", where {' and '.join(conditions)}" if when else ", else"


def _plain_words(dimension: Plain) -> str:
    if isinstance(dimension, Choices):
        return "one of " + ", ".join(map(str, dimension.values))
    scale = "logarithmic" if dimension.log else f"in steps of {dimension.step:g}" if dimension.step else "linear"
    return f"{dimension.low:g} to {dimension.high:g}, {scale}{', whole numbers' if dimension.whole else ''}"
