"""What a person reads at the terminal: the list of studies, the data that there are, what a compact network saves."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from topotune.files import Row, read_csv
from topotune.folder import StudyFolder, list_studies, ranked
from topotune.report import tables, wording


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


def analysis_text(rows: Sequence[Row]) -> str:
    """What was found of trained models, for a reader: means over the seeds, a star where one is beyond chance. What
    there is one of a class, a distance or a threshold is in the table only."""
    names = ("layer", "analysis", "measure", "topography", "loss", "weight", "positions")
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["at"] is None and row["value"] is not None:
            groups.setdefault(tuple(row[name] for name in names), []).append(row)
    order = {key: place for place, key in enumerate(dict.fromkeys(key[:3] for key in groups))}  # models side by side
    ordered = sorted(groups.items(), key=lambda one: order[one[0][:3]])
    header = (*names[:5], "λ", names[6], "n", "mean", "std", "chance, 95%", "")
    return "\n".join(columns([header, *(_found(key, own) for key, own in ordered)]))


def _found(key: tuple[Any, ...], rows: Sequence[Row]) -> tuple[str, ...]:
    mean, std = tables.mean_std([row["value"] for row in rows])
    known = [row for row in rows if row["chance_low"] is not None]
    low, high = (fmean(row[name] for row in known) if known else None for name in ("chance_low", "chance_high"))
    chance, beyond = "", ""
    if low is not None and high is not None:
        chance, beyond = f"{low:.3g} … {high:.3g}", "" if low <= mean <= high else "*"
    words = ("" if one is None else f"{one:g}" if isinstance(one, float) else str(one) for one in key)
    return (*words, str(len(rows)), f"{mean:.3g}", "" if std is None else f"{std:.2g}", chance, beyond)


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
