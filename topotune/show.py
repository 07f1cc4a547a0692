"""What a person reads at the terminal: the list of studies, the data that there are, what a compact network saves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from topotune.files import Row
from topotune.folder import StudyFolder, list_studies, ranked
from topotune.report import measures, tables, wording


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
    """What was found of trained models, for a reader: means over the models, a star where one is beyond chance; and how
    like they are, two and two. What there is one of a class, a distance or a threshold is in the table only."""
    names = ("layer", "analysis", "measure", "topography", "loss", "weight", "positions", "settings")
    groups = measures.grouped((row for row in rows if row["at"] is None), names)
    order = {key: place for place, key in enumerate(dict.fromkeys(key[:3] for key in groups))}  # models side by side
    ordered = sorted(groups.items(), key=lambda one: order[one[0][:3]])
    header = (*names[:5], "λ", names[6], "n", "mean", "std", "chance, 95%", "")
    every = sorted({row["settings"] for row in rows})
    told = [_found(key[:7], key[7], every, own) for key, own in ordered]
    blocks = [columns([header, *told])] if told else []
    if likeness := measures.likeness(rows, _model):
        heads = ("layer", "model", "and model", "pairs", "RSA", "CKA", "")
        blocks.append(columns([heads, *(_alike(key, every, own) for key, own in likeness.items())]))
    blocks.append([f"[{place}] {words}" for place, words in enumerate(every, start=1)] if len(every) > 1 else every)
    return "\n\n".join("\n".join(block) for block in blocks)


def _found(key: tuple[Any, ...], settings: str, every: Sequence[str], rows: Sequence[Row]) -> tuple[str, ...]:
    found = measures.Beside.of(rows)
    chance = "" if found.chance is None else "{:.3g} … {:.3g}".format(*found.chance)
    words = ("" if one is None else f"{one:g}" if isinstance(one, float) else str(one) for one in key)
    std = "" if found.std is None else f"{found.std:.2g}"
    return (*words, str(found.models), f"{found.mean:.3g}", std, chance, "*" * found.beyond + _mark(settings, every))


def _alike(key: tuple[Any, ...], every: Sequence[str], own: Mapping[str, list[float]]) -> tuple[str, ...]:
    layer, settings, one, other = key
    cells = (measures.spread(own.get(name, [])) for name in ("rsa", "cka"))
    return (layer, one, other, str(max(map(len, own.values()))), *cells, _mark(settings, every))


def _model(row: Row) -> str:
    """``grid2d ws λ=0.1``, or ``none``."""
    return row["topography"] if row["loss"] is None else f"{row['topography']} {row['loss']} λ={row['weight']:g}"


def _mark(settings: str, every: Sequence[str]) -> str:
    """With which of several settings a row was found."""
    return f" [{every.index(settings) + 1}]" if len(every) > 1 else ""


def studies(root: Path) -> list[dict[str, Any]]:
    """All studies in a folder, with what they have so far."""
    return [_one(folder) for folder in list_studies(root)]


def studies_text(root: Path) -> str:
    """All studies for a reader."""
    found = studies(root)
    if not found:
        return f"no studies in {root}"
    # a trial that waits for its study to go on counts as running, as Optuna has it
    shown = {name: "unfinished" if name == "running" else name for name in ("study", "trials", *tables.STATES)}
    header = (*shown.values(), "best validation %", "confirmed", "report")
    rows = [
        (*(str(one[name]) for name in shown), wording.percent(one["best_validation_accuracy"]),
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
    trials = folder.rows(folder.trials_table)
    counts = tables.count_states(trials)
    best = next((row["validation_accuracy"] for row in ranked(trials)), None)
    return {
        "study": folder.name,
        "trials": len(trials),
        **counts,
        "best_validation_accuracy": best,
        "confirmed": len(folder.rows(folder.confirm_table)),
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
