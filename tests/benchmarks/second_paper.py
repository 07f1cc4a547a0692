"""The second paper's effects (Truong & Hasson, arXiv 2508.00043): which of them a study of its two losses finds.

    topotune run search_spaces/mnist_losses.toml --data DATA [--set epochs=3 --set confirm.seeds=5]
    topotune analyze mnist_losses --data DATA
    python -m tests.benchmarks.second_paper --record studies/mnist_losses/{analysis,robustness}.csv
    python -m tests.benchmarks.second_paper [MODELS.csv] [--out EFFECTS.csv]

The third keeps one row a model in ``data/mnist_losses.csv``, or in MODELS.csv where that is given; the last one reads
it. The tables of ``topotune analyze`` and ``topotune robustness`` of any checkpoints do as well: of a search's seeds,
with ``--set budget.replicates=5``.

Each direction of effect is the difference of a measure from the control of the same seed, at each λ and over all λ that
have every seed: the mean over them, seed by seed, with its 95% t interval. What depends on positions is compared with
two controls: on the grid in the order of their units, and with positions assigned to them after training, which is what
training has to exceed.

Robustness is the accuracy that is left, less the same model's clean one: of perturbed weights the area under its curve
(``weight_area``), of image noise the mean over levels and kinds (``noise``). ``localisation`` is the mean distance of
pairs of units with r of 0.5 and more.

found: the interval is on the side that the paper reports (of ``other``, does not hold 0); opposite: on the other side;
not found: it holds 0; not contradicted: nothing was to rise, and the interval is not above 0; no interval: of one seed.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from topotune.files import Row, read_csv, write_csv
from topotune.followup.statistics import holm, paired_difference

RECORDED = Path(__file__).parent / "data" / "mnist_losses.csv"
NOISES = ("white", "pink", "salt_and_pepper")
THRESHOLD = 0.5  # of r, from which on two units count as alike: the middle of the paper's code's six
CONTROL, ASSIGNED = "control", "assigned control"


class Measure(NamedTuple):
    """Where a measure stands in analysis.csv; ``at``: of several rows."""

    analysis: str
    measure: str
    at: float | None = None


SPATIAL = {
    "moran": Measure("moran", "responses"),
    "neighbour_r": Measure("correlation", "neighbours"),
    "localisation": Measure("localisation", "distance", THRESHOLD),
}
PLAIN = {
    "variance": Measure("sensitivity", "variance"),
    "bimodality": Measure("bimodality", "coefficient"),
    "circular_variance": Measure("orientation", "circular_variance"),
    "mirror_correlation": Measure("symmetry", "mirror_correlation"),
    "preferred_eccentricity": Measure("eccentricity", "preferred"),
}
COLUMNS = (
    "model", "loss", "weight", "seed", "accuracy", "weight_area", *NOISES, "noise",
    *(name + assigned for name in SPATIAL for assigned in ("", "_assigned")), *PLAIN, "config_hash",
)  # fmt: skip


class Direction(NamedTuple):
    """One effect that the paper reports.

    expected: of the difference: higher, lower, other, no higher. against: CONTROL, ASSIGNED, or a loss.
    model: the only network for which it is reported; empty for all.
    """

    effect: str
    loss: str
    measure: str
    expected: str
    against: str = CONTROL
    model: str = ""


DIRECTIONS = (
    *(Direction("robust to perturbed weights", loss, "weight_area", "higher") for loss in ("ws", "as")),
    Direction("robust to image noise", "ws", "noise", "higher", model="mnist_cnn"),
    Direction("robust to image noise", "as", "noise", "higher", model="cifar_cnn"),
    *(Direction("smooth maps", "ws", "moran", "higher", against) for against in (CONTROL, ASSIGNED)),
    *(Direction("neighbours correlated", "ws", "neighbour_r", "higher", against) for against in (CONTROL, ASSIGNED)),
    *(Direction("like units close", "ws", "localisation", "lower", against) for against in (CONTROL, ASSIGNED)),
    Direction("sensitive to the input", "ws", "variance", "higher"),
    Direction("bimodal correlations", "as", "bimodality", "higher"),
    *(Direction("no smoothness", "as", "moran", "no higher", against) for against in (CONTROL, ASSIGNED)),
    Direction("no smoothness", "as", "moran", "lower", "ws"),
    *(Direction("orientation tuning changed", loss, "circular_variance", "other") for loss in ("ws", "as")),
    *(Direction("symmetry sensitivity changed", loss, "mirror_correlation", "other") for loss in ("ws", "as")),
    *(Direction("eccentricity changed", loss, "preferred_eccentricity", "other") for loss in ("ws", "as")),
)
EFFECT_COLUMNS = (
    "effect", "loss", "measure", "expected", "against", "weight", "seeds", "mean", "against_mean", "difference", "low",
    "high", "p", "p_holm", "verdict",
)  # fmt: skip
ALL = "all"  # λ, for the mean over them


def models(analysis: Iterable[Row], robustness: Iterable[Row]) -> list[Row]:
    """One row a model that both tables have whole: loss (``none``: the control), λ, seed and every measure."""
    looked: dict[str, list[Row]] = {}
    for row in analysis:
        looked.setdefault(row["config_hash"], []).append(row)
    tried: dict[str, list[Row]] = {}
    for row in robustness:
        tried.setdefault(row["config_hash"], []).append(row)
    found = [
        _model(looked[key], tried[key])
        for key in looked.keys() & tried.keys()
        if {row["perturbation"] for row in tried[key]} >= {"weight", *NOISES}
    ]
    return sorted(found, key=lambda row: (row["loss"] != "none", row["loss"], row["weight"], row["seed"]))


def _model(looked: Sequence[Row], tried: Sequence[Row]) -> Row:
    first, clean = looked[0], tried[0]["clean_accuracy"]
    row = {name: first[name] for name in ("model", "weight", "seed", "config_hash")}
    row |= {"loss": first["loss"] or "none", "accuracy": clean, "weight_area": _area(tried) - clean}
    for noise in NOISES:
        row[noise] = fmean(one["accuracy"] for one in tried if one["perturbation"] == noise) - clean
    row["noise"] = fmean(row[noise] for noise in NOISES)
    values = {
        (one["analysis"], one["measure"], one["at"], one["positions"]): one["value"]
        for one in looked
        if one["other"] is None
    }
    for name, where in SPATIAL.items():
        row |= {name: values.get((*where, "grid2d")), f"{name}_assigned": values.get((*where, "grid2d-assigned"))}
    row |= {name: values[*where, None] for name, where in PLAIN.items()}
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}


def _area(tried: Sequence[Row]) -> float:
    """Under the accuracy with perturbed weights, each level's the mean of its draws; by the trapezoid rule."""
    levels: dict[float, list[float]] = {}
    for row in tried:
        if row["perturbation"] == "weight":
            levels.setdefault(row["level"], []).append(row["accuracy"])
    curve = [(level, fmean(levels[level])) for level in sorted(levels)]
    return sum((right - left) * (one + other) / 2 for (left, one), (right, other) in pairwise(curve))


def effects(rows: Sequence[Row]) -> list[Row]:
    """A row of EFFECT_COLUMNS a direction and λ, and one over all λ, whose p are corrected for their number (Holm)."""
    told = {one["model"] for one in rows}
    found = [row for one in DIRECTIONS if one.model in {"", *told} for row in _effect(one, rows)]
    overall = [row for row in found if row["weight"] == ALL]
    for row, corrected in zip(overall, holm([row["p"] for row in overall]), strict=True):
        row["p_holm"] = corrected
    return found


def _effect(direction: Direction, rows: Sequence[Row]) -> list[Row]:
    other = direction.against if direction.against == "ws" else "none"
    measure = direction.measure + "_assigned" * (direction.against == ASSIGNED)
    mine, theirs = by_weight(rows, direction.loss, direction.measure), by_weight(rows, other, measure)
    pairs = {weight: (own, theirs.get(0.0, theirs.get(weight, {}))) for weight, own in mine.items()}
    shared = {weight: sorted(own.keys() & against.keys()) for weight, (own, against) in pairs.items()}
    most = max(map(len, shared.values()), default=0)
    whole = [weight for weight, seeds in shared.items() if len(seeds) == most]
    found = [
        _row(direction, weight, {seed: (own[seed], against[seed]) for seed in shared[weight]})
        for weight, (own, against) in pairs.items()
        if shared[weight]
    ]
    if len(whole) > 1:
        seeds = set.intersection(*(set(shared[weight]) for weight in whole))
        means = {seed: [fmean(pairs[weight][side][seed] for weight in whole) for side in (0, 1)] for seed in seeds}
        found.append(_row(direction, ALL, {seed: (one, against) for seed, (one, against) in sorted(means.items())}))
    return found


def by_weight(rows: Iterable[Row], loss: str, measure: str) -> dict[float, dict[int, float]]:
    """λ -> seed -> the measure, where it has a value; the control's λ is 0."""
    found: dict[float, dict[int, float]] = {}
    for row in rows:
        if row["loss"] == loss and row[measure] is not None:
            found.setdefault(float(row["weight"]), {})[row["seed"]] = row[measure]
    return found


def _row(direction: Direction, weight: float | str, pairs: Mapping[int, tuple[float, float]]) -> Row:
    mine, theirs = zip(*pairs.values(), strict=True)
    difference = paired_difference(mine, theirs)
    about = {name: getattr(direction, name) for name in ("effect", "loss", "measure", "expected", "against")}
    values = {name: difference[name] for name in ("difference", "low", "high", "p")}
    verdict = judge(direction.expected, values["low"], values["high"])
    return about | values | {
        "weight": weight, "seeds": len(pairs), "mean": fmean(mine), "against_mean": fmean(theirs), "p_holm": None,
        "verdict": verdict,
    }  # fmt: skip


def judge(expected: str, low: float | None, high: float | None) -> str:
    """What an interval says of an expectation; see above."""
    if low is None or high is None:
        return "no interval"
    if expected == "no higher":
        return "opposite" if low > 0 else "not contradicted"
    if low <= 0 <= high:
        return "not found"
    return "found" if expected == "other" or (expected == "higher") == (low > 0) else "opposite"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="?", default=RECORDED, help="one row a model")
    parser.add_argument(
        "--record", type=Path, nargs=2, metavar=("ANALYSIS", "ROBUSTNESS"), help="write MODELS of these"
    )
    parser.add_argument("--out", type=Path, help="a CSV file for the effects")
    options = parser.parse_args()
    if options.record:
        write_csv(options.models, COLUMNS, models(*map(read_csv, options.record)))
    found = effects(read_csv(options.models))
    if options.out:
        write_csv(options.out, EFFECT_COLUMNS, found)
    print("| effect | loss | measure | against | λ | seeds | mean | its | difference (95%) | p, corrected | verdict |")
    print("| --- " * 11 + "|")
    for row in found:
        p, low, high = ("–" if row[name] is None else f"{row[name]:.2g}" for name in ("p_holm", "low", "high"))
        print(
            f"| {row['effect']} | {row['loss']} | {row['measure']} | {row['against']} | {row['weight']} | "
            f"{row['seeds']} | {row['mean']:.3g} | {row['against_mean']:.3g} | {row['difference']:+.3g} ({low} to "
            f"{high}) | {p} | {row['verdict']} |"
        )


if __name__ == "__main__":
    main()
