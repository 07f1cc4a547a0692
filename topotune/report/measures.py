"""From the rows of analysis.csv to a reader's tables: means over the models, what chance gives, how like models are."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from topotune.config import NONE
from topotune.files import Row
from topotune.report.tables import Table, in_order, mean_std
from topotune.report.wording import MISSING
from topotune.topography import arrangement_of

# what each measure is, in a line for the page; ``at`` in the table says of what, where there are several
MEASURES: dict[tuple[str, str], str] = {
    ("correlation", "neighbours"): "Pearson r of neighbours’ responses over the images, mean over the pairs",
    ("correlation", "rank_correlation"): "Spearman correlation of r and distance, over all pairs of units",
    ("correlation", "r"): "Pearson r of two units’ responses, mean over the pairs of a distance",
    ("bimodality", "coefficient"): "bimodality coefficient of the pairs’ r; a uniform distribution has 0.56",
    ("localisation", "distance"): "mean distance of the pairs whose r is at least the threshold",
    ("localisation", "pairs"): "share of the pairs whose r is at least the threshold",
    ("moran", "responses"): "Moran’s I of the map of responses to an image, mean over the images",
    ("dimensionality", "activations"): "participation ratio of the eigenvalues of the responses’ covariance",
    ("dimensionality", "weights"): "participation ratio of the eigenvalues of the incoming weights’ covariance",
    ("sensitivity", "variance"): "variance of a unit’s response over the images, mean over the units",
    ("sensitivity", "moran"): "Moran’s I of the map of these variances",
    ("experts", "units"): "units whose AUROC for one class against the rest reaches the threshold",
    ("experts", "spread"): "how evenly expert units are spread over the classes: 1 for evenly, 0 for one class",
    ("experts", "auroc"): "a unit’s AUROC for its best class, mean over the units",
    ("experts", "d_prime"): "a unit’s d′ for its best class, mean over the units",
    ("experts", "distance"): "mean distance of two experts of one class",
    ("experts", "experts"): "expert units of a class",
    ("orientation", "circular_variance"): "circular variance of the tuning to gratings: 0 one orientation, 1 none",
    ("orientation", "tuned"): "share of the units that have a preferred orientation",
    ("orientation", "frequency"): "preferred spatial frequency, cycles across the image",
    ("orientation", "neighbour_difference"): "difference of neighbours’ preferred orientations, degrees",
    ("orientation", "pinwheels"): "squares of four units around which the preference turns once",
    ("symmetry", "mirror_correlation"): "correlation of a unit’s responses to images and to their mirror images",
    ("symmetry", "moran"): "Moran’s I of the map of these correlations",
    ("eccentricity", "preferred"): "distance from the centre at which a spot is responded to most, mean over the units",
    ("eccentricity", "neighbour_difference"): "difference of neighbours’ preferred distances",
    ("eccentricity", "profile"): "response to a spot at a distance from the centre, mean over the units",
    ("maps", "weights"): "Moran’s I of the map of incoming weights of an input, mean over the inputs",
    ("maps", "classes"): "Moran’s I of the map of mean responses to a class, mean over the classes",
    ("similarity", "rsa"): "Spearman correlation of two models’ dissimilarities of images (RSA)",
    ("similarity", "cka"): "linear CKA of two models’ responses, unbiased: 0 for unrelated ones",
}  # fmt: skip
_THRESHOLDS = {"localisation": 0.5}  # of what there is one a threshold, the one that stands in the table


class Beside(NamedTuple):
    """A measure of some models: its mean and deviation over them, and the range of 95% of the means of models whose
    positions are shuffled, where it depends on positions."""

    models: int
    mean: float
    std: float | None
    chance: tuple[float, float] | None

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Beside":
        """Rows of one measure, a model each."""
        return cls(len(rows), *mean_std([float(row["value"]) for row in rows]), chance_of_mean(rows))

    @property
    def beyond(self) -> bool:
        """Whether the mean lies out of that range."""
        return self.chance is not None and not self.chance[0] <= self.mean <= self.chance[1]


def chance_of_mean(rows: Sequence[Row]) -> tuple[float, float] | None:
    """The range of 95% of the means over models whose positions are shuffled, each for itself, from the models' own
    ranges: their widths add in quadrature, as deviations do, and their skews as third cumulants. Of one model, its own;
    None where one has none."""
    if not rows or any(row["chance_low"] is None for row in rows):
        return None
    middle = fmean(row["chance_mean"] for row in rows)
    halves = [(row["chance_high"] - row["chance_low"]) / 2 for row in rows]
    skews = [(row["chance_high"] + row["chance_low"]) / 2 - row["chance_mean"] for row in rows]
    squares = sum(half**2 for half in halves)
    skew = sum(own * half**2 for own, half in zip(skews, halves, strict=True)) / squares if squares else 0.0
    centre, half = middle + skew / len(rows), math.sqrt(squares) / len(rows)
    return centre - half, centre + half


def grouped(rows: Iterable[Row], names: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    """Rows that have a value by these columns, in the order in which each comes first; those of pairs are left out."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["other"] is None and row["value"] is not None:
            found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def table(rows: Sequence[Row], effects: Sequence[Mapping[str, Any]]) -> Table:
    """Every measure of which there is one a model, for each topography on its own positions, beside the control's on
    positions assigned to it. ``effects``: the differences between the two, as summary.json has them."""
    shown = [row for row in rows if row["at"] in (None, _THRESHOLDS.get(row["analysis"]))]
    names = ("analysis", "measure", "at", "topography", "positions")
    groups = grouped(shown, names)
    differences = {tuple(one[name] for name in names): one for one in effects}
    lines = []
    for measure in dict.fromkeys(key[:3] for key in groups):
        own = {key[3]: key for key in groups if key[:3] == measure and key[3] != NONE}
        for topography in in_order(own):
            key = own[topography]
            control = groups.get((*measure, NONE, key[4] and f"{arrangement_of(key[4])[0]}-assigned"))
            found, apart = Beside.of(groups[key]), _apart(differences.get(key))
            lines.append((_title(*measure), topography, str(found.models), *_found(found), _spread(control), apart))
    header = (
        "Measure", "Topography", "Models", "Mean ± std", "By chance (95%)", "Control, mean ± std",
        "Difference (95%)",
    )  # fmt: skip
    return Table(header, tuple(lines), words=2)


def _title(analysis: str, measure: str, at: float | None) -> str:
    threshold = "" if at is None else f", r ≥ {at:g}"
    return f"{analysis}: {measure.replace('_', ' ')}{threshold}"


def _found(found: Beside) -> tuple[str, str]:
    spread = signed(found.mean) + ("" if found.std is None else f" ± {signed(found.std, '.2g')}")
    if found.chance is None:
        return spread, MISSING
    return spread, " to ".join(signed(end, ".2g") for end in found.chance) + " *" * found.beyond


def _spread(rows: Sequence[Row] | None) -> str:
    return _found(Beside.of(rows))[0] if rows else MISSING


def _apart(effect: Mapping[str, Any] | None) -> str:
    if effect is None:
        return MISSING
    known = effect["low"] is not None
    reach = f" ({signed(effect['low'], '+.2g')} to {signed(effect['high'], '+.2g')})" if known else ""
    return signed(effect["difference"], "+.3g") + reach


def signed(value: float, spec: str = ".3g") -> str:
    """A number with a minus sign that is one."""
    return format(value, spec).replace("-", "−")


def measures_told(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """What each of the table's measures is: its name, and a line about it."""
    there = {(row["analysis"], row["measure"]) for row in rows}
    return [(_title(*key, None), words) for key, words in MEASURES.items() if key in there]


def likeness(rows: Sequence[Row], label: Callable[[Row], str]) -> dict[tuple[Any, ...], dict[str, list[float]]]:
    """How like models are, two and two: (layer, settings, one label, other label) -> measure -> a value a pair.

    rows: with those of ``similarity``, and of all models. label: what a model is called; which of two labels is named
    first follows from the labels alone, so that each pair of them comes once.
    """
    labels = {row["weights"]: label(row) for row in rows}
    order = in_order(labels.values())
    found: dict[tuple[Any, ...], dict[tuple[str, frozenset[str]], float]] = {}
    for row in rows:
        if row["other"] is None or row["value"] is None:
            continue
        two = (labels[row["weights"]], labels.get(row["other"], row["other"][:8]))
        key = (row["layer"], row["settings"], *sorted(two, key=[*order, *two].index))
        found.setdefault(key, {})[row["measure"], frozenset((row["weights"], row["other"]))] = float(row["value"])
    return {key: _by_measure(own) for key, own in found.items()}


def _by_measure(pairs: Mapping[tuple[str, frozenset[str]], float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for (measure, _two), value in pairs.items():
        found.setdefault(measure, []).append(value)
    return found


def similarity_table(rows: Sequence[Row]) -> Table:
    """RSA and CKA for every two topographies: mean ± std over the pairs of models."""
    found = likeness(rows, lambda row: str(row["topography"]))
    names = in_order({name for key in found for name in key[2:]})
    lines = []
    for key in sorted(found, key=lambda key: [names.index(name) for name in key[2:]]):
        cells = [spread(found[key].get(measure, [])) for measure in ("rsa", "cka")]
        lines.append((*key[2:], str(max(map(len, found[key].values()))), *cells))
    return Table(("Topography", "and", "Pairs of models", "RSA", "CKA"), tuple(lines), words=2)


def spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation, in words."""
    return _found(Beside(len(values), *mean_std(values), None))[0] if values else MISSING
