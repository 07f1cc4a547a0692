"""How one study stands: its best trials, what they cost, what matters, what was confirmed. For people and programs."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from topotune.config import NONE
from topotune.files import Row, read_csv, read_table
from topotune.folder import StudyFolder, ranked
from topotune.report import cost, tables, wording
from topotune.search.space import StudyFile
from topotune.search.study_file import load_study
from topotune.show import columns
from topotune.training import METRICS, WEIGHTS


def standing(folder: StudyFolder, top: int, curves: bool = False) -> dict[str, Any]:
    """One study, from its files and its journal; a search may be writing them.

    Its summary.json, and: ``leaderboard`` (the best complete trials), ``states``, ``spent``, ``disk`` (bytes),
    ``importances`` (setting -> share, none for fewer than 10 complete trials), ``pareto_front`` (where there are
    several objectives), and ``curves`` (trial -> validation accuracy by epoch, the mean over its seeds) of the
    leaderboard if asked for.
    """
    return _standing(folder, _Searched.read(folder), top, curves)


def _standing(folder: StudyFolder, searched: "_Searched", top: int, curves: bool) -> dict[str, Any]:
    trials, file = searched.trials, searched.file
    best = ranked(trials)[:top]
    summary = read_table(folder.summary) if folder.summary.exists() else {}
    return {
        "study": folder.name,
        "path": str(folder.path),
        "leaderboard": best,
        "states": tables.count_states(trials),
        "spent": cost.spent(folder, trials),
        "disk": _disk(folder),
        "seeds": file.replicates,
        "importances": searched.importances,
        "pareto_front": searched.front,
        **({"curves": {str(row["id"]): _curve(folder, row, file.replicates) for row in best}} if curves else {}),
        **summary,
        "report": str(folder.report) if folder.report.exists() else None,
    }


def standing_text(folder: StudyFolder, top: int, curves: bool = False) -> str:
    """One study for a reader."""
    searched = _Searched.read(folder)
    found, trials = _standing(folder, searched, top, curves), searched.trials
    lines = [f"study {folder.name} in {folder.path}", wording.trials_sentence(found["states"])]
    if kept := wording.checkpoint_sentence(found.get("best_checkpoint")):
        lines.append(kept)
    lines += _costs(found)
    board = tables.leaderboard(trials, top)
    if board.rows:
        lines += ["", *columns([board.header, *board.rows])]
    mean = f", mean of {found['seeds']} seeds" if found["seeds"] > 1 else ""
    for trial, curve in found.get("curves", {}).items():
        points = " ".join(f"{epoch}:{100 * value:.2f}" for epoch, value in curve.items())
        lines += [""] * (trial == str(found["leaderboard"][0]["id"])) + [f"trial {trial}, % by epoch{mean}: {points}"]
    if found["importances"]:
        shares = [(name, f"{share:.2f}") for name, share in found["importances"].items()]
        lines += ["", *columns([("Setting", "Importance"), *shares])]
    if front := found["pareto_front"]:
        best = tables.front_table(front)
        lines += ["", "Pareto front:", *columns([best.header, *best.rows])]
    if found.get("confirm"):
        confirmed = tables.confirmed_table(found["confirm"])
        lines += ["", *columns([confirmed.header, *confirmed.rows]), ""]
        lines += [wording.finding(one) for one in found["confirm"] if one["topography"] != NONE]
    if found.get("pruning"):
        areas = tables.pruning_summary(found["pruning"])
        lines += ["", *columns([areas.header, *areas.rows])]
    if found["report"]:
        lines += ["", f"report: {found['report']}"]
    return "\n".join(lines)


def _costs(found: dict[str, Any]) -> list[str]:
    told, disk = cost.cost_sentence(found["spent"]), found["disk"]
    kept = f"On disk {_size(disk['all'])}, the trials' weights {_size(disk['trial_weights'])}."
    return [told, kept] if told else []


def _disk(folder: StudyFolder) -> dict[str, int]:
    """Bytes of a study's files; those that go while they are counted count nothing."""
    trials = folder.path / "trials"
    return {"all": _bytes(folder.path, "*"), "trials": _bytes(trials, "*"), "trial_weights": _bytes(trials, WEIGHTS)}


def _bytes(folder: Path, pattern: str) -> int:
    total = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.match(pattern):
                try:
                    total += path.lstat().st_size
                except FileNotFoundError:
                    continue
    return total


@dataclass(frozen=True)
class _Searched:
    """A search as its journal has it, which trials.csv follows some seconds later, and not at all after a kill."""

    file: StudyFile
    trials: list[Row]
    importances: dict[str, float] = field(default_factory=dict)
    front: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: StudyFolder) -> Self:
        from topotune.search import analysis, table  # a quarter of a second

        file, study = load_study(folder.study_file), analysis.open_read_only(folder)
        if study is None:  # somebody copied the tables only
            return cls(file, folder.rows(folder.trials_table))
        front = analysis.pareto_front(analysis.judged(study, file), file.objectives)
        return cls(file, table.rows(study.get_trials(deepcopy=False), file), analysis.importances(study), front)


def _curve(folder: StudyFolder, row: Row, seeds: int) -> dict[str, float]:
    """Epoch -> validation accuracy, of one complete trial: the mean over its seeds."""
    every: dict[str, list[float]] = {}
    for path in folder.replicates(row["id"], seeds):
        for epoch in read_csv(path / METRICS):
            every.setdefault(str(epoch["epoch"]), []).append(epoch["validation_accuracy"])
    return {epoch: fmean(values) for epoch, values in every.items()}


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:  # else it is rounded to 1000
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
