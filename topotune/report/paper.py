"""The figures of a study as files, in the sizes of a screen or of a journal's page."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from topotune.config import NONE, SETTINGS
from topotune.errors import InputError, unknown
from topotune.folder import StudyFolder
from topotune.losses import LOSSES
from topotune.report import analysis, figures, position_figures, robustness, tables, unit_figures
from topotune.report.study import ReportStudy
from topotune.report.style import tell_apart
from topotune.topography import POSITIONS, arrangement_of

KINDS = (".pdf", ".png")
_LOSS = SETTINGS["loss"].default
SMALLEST, LARGEST = 2, 30  # inches
SHOWN, FEW = 256, 64  # channels of the pictures of positions: as the first paper's figure 2 has, and fewer


def write_figures(
    folder: StudyFolder, out: Path, style: str = "screen", size: tuple[float, float] | None = None
) -> list[Path]:
    """Draw every figure that the study has rows for, as PDF and PNG; their paths. ``size``: inches, of one panel.

    ``approach``, ``organisations`` and ``pruning_accuracy`` are in kind figures 1 to 3 of Poli, Dupoux & Riad (2022).

    Raises:
        InputError: the style is unknown, the size is none, ``out`` is no folder, a file of the study is damaged, or
            there is nothing to draw yet.
    """
    if style not in figures.STYLES:
        raise unknown("style", style, figures.STYLES, "--style")
    if size and not all(SMALLEST <= side <= LARGEST for side in size):
        given = " ".join(f"{side:g}" for side in size)
        raise InputError(f"--size {given}: width and height must be from {SMALLEST} to {LARGEST} inches")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; it must be a folder, which need not exist")
    study = ReportStudy.read(folder)
    if not study.topographies:
        raise InputError(f"study {folder.name!r} has no rows to draw yet; run: topotune search {folder.study_file}")
    tell_apart(study.topographies)
    written = []
    with figures.looking(style, size):
        for name, figure in itertools.chain(_positions(study), _results(study), _units(study)):
            paths = [out / f"{name}{kind}" for kind in KINDS]
            figures.save(figure, *paths)
            written += paths
    return written


def _positions(study: ReportStudy) -> Iterator[tuple[str, Any]]:
    """Figures 1 and 2 of the first paper, of the study's own organisations and loss."""
    names = list(dict.fromkeys(arrangement_of(name)[0] for name in study.topographies if name != NONE))
    names = [name for name in names if name in POSITIONS]
    if not names:
        return
    from topotune.topography.positions import positions  # torch

    places = {}
    for name in names:
        options = {key: study.fixed[key] for key in POSITIONS[name].options if key in study.fixed}
        places[name] = [positions(name, count, **options) for count in (FEW, SHOWN)]
    losses = dict.fromkeys(str(row["loss"]) for row in study.trials if row.get("loss"))
    few = places[names[0]][0]
    for loss in losses or (str(study.fixed.get("loss", _LOSS)),):
        name = f"approach-{loss}" if len(losses) > 1 else "approach"
        yield name, position_figures.approach(few.tolist(), _wanted(few, loss), loss)
    yield "organisations", position_figures.organisations({name: own[1].tolist() for name, own in places.items()})


def _wanted(places: Any, loss: str) -> list[list[float]]:
    """How alike a loss wants each pair of channels (C, C): its target, or 1 for neighbours. places: (C, D)."""
    import torch

    from topotune.topography.targets import neighbour_pairs, target_similarity

    if LOSSES[loss].geometry == "targets":
        wanted = target_similarity(places)
    else:  # neighbours on a lattice, and those whose weights a sheet blurs together
        wanted = torch.zeros(len(places), len(places))
        first, second = neighbour_pairs(places)
        wanted[first, second] = wanted[second, first] = 1.0
    wanted.fill_diagonal_(1.0)
    found: list[list[float]] = wanted.tolist()
    return found


def _results(study: ReportStudy) -> Iterator[tuple[str, Any]]:
    """What was found: the search, the confirmation, pruning (figure 3 of the first paper) and robustness."""
    if trials := tables.accuracy_by_topography(study.trials):
        yield "accuracy_against_weight", figures.accuracy_against_weight(trials)
    if confirmed := tables.confirmed_by_topography(study.confirmed):
        yield "confirmed_accuracy", figures.confirmed_accuracy(confirmed)
    for number, curves in enumerate(study.curves().values(), start=1):
        yield f"pruning_accuracy-{number}" if number > 1 else "pruning_accuracy", figures.pruning_accuracy(curves)
    if tried := robustness.curves(study.tried):
        yield "robustness_accuracy", figures.robustness_accuracy(tried)


def _units(study: ReportStudy) -> Iterator[tuple[str, Any]]:
    """What the units represent."""
    if near := analysis.curves(study.looked_at):
        yield "correlation_against_distance", unit_figures.correlation_against_distance(near)
    for name, own in analysis.panels(study.folder, study.looked_at).items():
        yield f"unit_maps-{name}", unit_figures.unit_maps(own)
