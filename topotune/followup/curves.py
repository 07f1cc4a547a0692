"""What curves come to: of pruning, the area, and where accuracy has fallen by so much; of robustness, the mean."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from topotune.files import Row
from topotune.followup.statistics import compare, corrected, mean_and_std

FALLS = (0.01, 0.05, 0.1)  # of accuracy, from that of the network before pruning
WAY = ("criterion", "scope", "finetune_epochs")


def area(proportions: Sequence[float], accuracies: Sequence[float]) -> float:
    """The area under a curve (trapezoids) over the range of its proportions, or levels, as a share: a mean accuracy."""
    if len(proportions) == 1:
        return accuracies[0]
    return float(np.trapezoid(accuracies, proportions) / (proportions[-1] - proportions[0]))


def fallen(proportions: Sequence[float], accuracies: Sequence[float], fall: float) -> float | None:
    """The first proportion at which accuracy is ``fall`` below that of the first, interpolated between two.

    None where it never falls so far, and where the curve does not begin at 0.
    """
    level = accuracies[0] - fall
    if proportions[0] != 0:
        return None
    for (left, before), (right, after) in pairwise(zip(proportions, accuracies, strict=True)):
        if after <= level:
            return float(left + (right - left) * (before - level) / (before - after))
    return None


def summarise_curves(rows: Sequence[Row], control: str) -> list[Row]:
    """One row a way of pruning and topography of pruning.csv's rows.

    area, area_std: mean and deviation over the seeds. difference … p_holm: of the area from the control's, as
    ``compare`` has them. fall_1, fall_5, fall_10: the proportion at which accuracy has fallen by 1, 5, 10 points,
    mean over the seeds; None where it does not for one of them, or after training on, at a few proportions only.
    """
    table = []
    for way in dict.fromkeys(tuple(row[name] for name in WAY) for row in rows):
        curves: dict[tuple[str, int], list[Row]] = {}
        for row in rows:
            if tuple(row[name] for name in WAY) == way:
                curves.setdefault((row["topography"], row["seed"]), []).append(row)
        found = [_one(own) for own in curves.values()]
        for one in compare(found, control, "area"):
            mine = [curve for curve in found if curve["topography"] == one["topography"]]
            falls = {name: _mean([curve[name] for curve in mine]) for name in map(_name, FALLS)}
            areas = {"area": one.pop("mean"), "area_std": one.pop("std")}
            table.append(dict(zip(WAY, way, strict=True)) | one | areas | falls)
    return table


def summarise_robustness(rows: Sequence[Row], control: str) -> list[Row]:
    """One row a perturbation and topography of robustness.csv's rows.

    mean, std: of the mean accuracy over the levels, over the seeds. difference … p_holm: of that from the control's,
    as ``compare`` has them, corrected for all topographies and perturbations. clean, area (each with its _std): the
    accuracy without the perturbation, and the area under the curve, divided by the width of the levels.
    """
    table = []
    for perturbation in dict.fromkeys(row["perturbation"] for row in rows):
        curves: dict[tuple[str, int], list[Row]] = {}
        for row in rows:
            if row["perturbation"] == perturbation and row["accuracy"] is not None:
                curves.setdefault((row["topography"], row["seed"]), []).append(row)
        found = [_tried(own) for own in curves.values()]
        for one in compare(found, control, "mean"):
            mine = [curve for curve in found if curve["topography"] == one["topography"]]
            spreads = {name: mean_and_std([curve[name] for curve in mine]) for name in ("clean", "area")}
            more = {
                f"{name}{end}": value
                for name, own in spreads.items()
                for end, value in zip(("", "_std"), own, strict=True)
            }
            table.append({"perturbation": perturbation} | one | more)
    return corrected(table)


def _tried(rows: Sequence[Row]) -> Row:
    """One network's curve under a perturbation, the draws' mean at each level."""
    draws: dict[float, list[float]] = {}
    for row in rows:
        draws.setdefault(float(row["level"]), []).append(float(row["accuracy"]))
    levels = sorted(draws)
    means = [mean_and_std(draws[level])[0] for level in levels]
    about = {name: rows[0][name] for name in ("topography", "weight", "seed")}
    return about | {"mean": mean_and_std(means)[0], "area": area(levels, means), "clean": rows[0]["clean_accuracy"]}


def _one(rows: Sequence[Row]) -> Row:
    """One network's curve."""
    ordered = sorted(rows, key=lambda row: float(row["proportion"]))
    proportions, accuracies = ([float(row[name]) for row in ordered] for name in ("proportion", "accuracy"))
    about = {name: ordered[0][name] for name in ("topography", "weight", "seed")}
    falls = {_name(fall): fallen(proportions, accuracies, fall) for fall in FALLS}
    return about | {"area": area(proportions, accuracies)} | falls


def _name(fall: float) -> str:
    return f"fall_{round(100 * fall)}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return mean_and_std(known)[0] if known and len(known) == len(values) else None
