"""What a person reads at the terminal: the plan of a study, the list of studies, the data that there are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from topotune.data import dataset_entry, steps_per_epoch
from topotune.files import read_csv
from topotune.folder import StudyFolder, list_studies, ranked
from topotune.report import tables, wording
from topotune.search.space import Cases, Choices, Dimension, Plain, StudyFile

GRID_POINTS = 12  # the values that a continuous setting has in the grid: as many λ as the first paper searched


def plan(file: StudyFile, data: Path | None = None) -> dict[str, Any]:
    """What a study would do, in numbers; nothing is trained.

    The full grid takes every choice, and 12 values of every range, of the settings that a topography has.
    ``data`` is the folder of a user's own data, which are counted; other data sets need not be there.
    """
    grid = int(file.size(GRID_POINTS))
    trials, workers = file.option("budget", "trials"), int(file.constants.get("workers", 1))
    smallest = int(file.ends("batch_size")[0])  # the most steps
    samples = [dataset_entry(name, data).train for name in file.choices("dataset")]
    steps = max(steps_per_epoch(count, smallest, workers) for count in samples)
    # a topography that no trial was about cannot be confirmed
    confirmed = min(len(file.topographies), trials) * file.option("confirm", "seeds")
    return {
        "study": file.name,
        "study_hash": file.hash,
        "searched": {name: _words(dimension) for name, dimension in file.dimensions.items()},
        "fixed": file.constants,
        "trials": trials,
        "workers": workers,
        "epochs_per_trial": file.epochs,
        "steps_per_epoch": steps,
        "search_epochs_at_most": trials * file.epochs,
        "search_steps_at_most": trials * file.epochs * steps,
        "confirmed_models": confirmed,
        "confirm_epochs": confirmed * file.epochs,
        "pruned_evaluations": confirmed * _ways_to_prune(file),
        "full_grid_trials": grid,
        "full_grid_epochs": grid * file.epochs,
    }


def plan_text(plan: dict[str, Any]) -> str:
    """The plan for a reader."""
    searched = [f"  {name:15} {words}" for name, words in plan["searched"].items()]
    fixed = [f"  {name:15} {value}" for name, value in plan["fixed"].items()]
    share = plan["search_epochs_at_most"] / max(plan["full_grid_epochs"], 1)
    return "\n".join(
        [
            f"study {plan['study']} ({plan['study_hash']})",
            "searched:",
            *(searched or ["  nothing"]),
            "fixed:",
            *fixed,
            f"search:    {plan['trials']} trials of {plan['workers']} worker(s), at most {plan['epochs_per_trial']} "
            f"epochs of {plan['steps_per_epoch']} steps each",
            f"           at most {plan['search_epochs_at_most']:,} epochs, {plan['search_steps_at_most']:,} steps; "
            "stopped trials take fewer",
            f"confirm:   {plan['confirmed_models']} models, {plan['confirm_epochs']:,} epochs",
            f"prune:     {plan['pruned_evaluations']:,} evaluations",
            f"full grid: {plan['full_grid_trials']:,} trials, {plan['full_grid_epochs']:,} epochs on one seed "
            f"({GRID_POINTS} values a range); the search takes at most {share:.1%} of it",
        ]
    )


def compact_text(record: dict[str, Any]) -> str:
    """What a compact network saves, for a reader."""
    networks = record["networks"]
    whole = networks[0]
    header = ("network", "parameters", "multiply-adds", "MB", "ms, 1 image", "ms, 64 images", "test accuracy %")
    rows = [
        (
            one["network"], _share(one["parameters"], whole["parameters"]),
            _share(one["multiply_adds"], whole["multiply_adds"]), f"{one['bytes'] / 1e6:.2f}",
            f"{one['milliseconds_1']:.2f}", f"{one['milliseconds_64']:.1f}", wording.percent(one["test_accuracy"]),
        )
        for one in networks
    ]  # fmt: skip
    said = f"{record['proportion']:.0%} of the channels by {record['criterion']}, {record['scope']} layers"
    same = f"largest difference from the masked network: {record['largest_difference']:.1e} of the largest output"
    return "\n".join([said, *columns([header, *rows]), same])


def _share(number: int, whole: int) -> str:
    return f"{number:,} ({number / whole:.1%})"


def studies(root: Path) -> list[dict[str, Any]]:
    """All studies in a folder, with what they have so far."""
    return [_one(folder) for folder in list_studies(root)]


def studies_text(root: Path) -> str:
    """All studies for a reader."""
    found = studies(root)
    if not found:
        return f"no studies in {root}"
    header = ("study", "trials", "complete", "pruned", "failed", "running", "best validation %", "confirmed", "report")
    rows = [
        (*(str(one[name]) for name in header[:6]), wording.percent(one["best_validation_accuracy"]),
         str(one["confirmed"]), "yes" if one["report"] else "no")
        for one in found
    ]  # fmt: skip
    return "\n".join(columns([header, *rows]))


def data_text(found: Sequence[dict[str, Any]]) -> str:
    """What there is of data sets, for a reader."""
    return "\n".join(line for one in found for line in _data_lines(one))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text in columns of equal width."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _one(folder: StudyFolder) -> dict[str, Any]:
    trials = read_csv(folder.trials_table)
    counts = tables.count_states(trials)
    best = next((row["validation_accuracy"] for row in ranked(trials)), None)
    return {
        "study": folder.name,
        "trials": len(trials),
        **counts,
        "best_validation_accuracy": best,
        "confirmed": len(read_csv(folder.confirm_table)),
        "report": folder.report.exists(),
    }


def _data_lines(one: dict[str, Any]) -> list[str]:
    lines = [f"{one['dataset']}: {one['state']}"]
    if one["problem"]:
        lines.append(f"  problem:   {one['problem']}")
        if one["source"]:
            lines.append(f"  source:    {one['source']}")
    if one.get("folder"):
        lines.append(f"  files:     {one['files']:,} in {one['folder']}, {one['bytes']:,} bytes")
    if one.get("checksums"):
        lines.append(f"  checksums: {one['checksums']}")
    if "samples" not in one:
        return lines
    per_class, size = one["train_per_class"], "x".join(map(str, one["shape"]))
    parts = [f"{part} {count:,} of {one['official'][part]:,}" for part, count in one["samples"].items()]
    notes = [f"{count:,} {why} ({part})" for part, own in one["notes"].items() for why, count in own.items()]
    return [
        *lines,
        f"  samples:   {', '.join(parts)}; {size} each",
        f"  classes:   {len(per_class)}, with {min(per_class):,} to {max(per_class):,} training samples each",
        *(f"  note:      {note}" for note in notes),
        *(f"  prepared:  {path}" for path in one["prepared"].values()),
    ]


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
