"""Correlations between units: against their distance, how they are spread, and how far apart the like ones sit.

Definitions of ours, but for localisation, which is as the code of Truong & Hasson has it. P pairs of units.
"""

import numpy as np
from scipy.stats import kurtosis, rankdata, skew

from topotune.analysis.places import Places
from topotune.analysis.units import Array, Found, Measure, Units

THRESHOLDS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8)
HISTOGRAM = 40  # bins of r, from −1 to 1


def correlation(units: Units, places: Places) -> Found:
    """Pearson r of the pairs of units: its mean in each bin of distance (``r``), its mean over neighbours
    (``neighbours``), and its rank correlation with the distance (``rank_correlation``, Spearman)."""
    first, second = places.pairs
    index, middles = places.bins
    count, r = np.bincount(index, minlength=len(middles)), units.correlations
    far, ranks = standard_ranks(places.distances), matrix_of(standard_ranks(r[first, second]), places.pairs)
    one, other = places.neighbours

    def statistic(order: Array) -> Array:
        pair = order[first], order[second]
        near = r[order[one], order[other]]
        scalars = [near.mean() if len(near) else np.nan, spearman(far, ranks[pair])]
        return np.concatenate([scalars, np.bincount(index, r[pair], len(middles)) / count])

    names = ["neighbours", "rank_correlation", *["r"] * len(middles)]
    at = [None, None, *map(float, middles)]
    found = zip(names, at, places.against_chance(statistic), strict=True)
    return Found([Measure(name, value, place, chance) for name, place, (value, chance) in found])


def bimodality(units: Units, _places: Places) -> Found:
    """The bimodality coefficient of the pairs' r (SAS's, with corrections for the sample): (g₁² + 1) / (g₂ + 3(P −
    1)² / ((P − 2)(P − 3))), g₁ skewness and g₂ excess kurtosis. A uniform distribution has 5/9, two modes more."""
    r = units.correlations[np.triu_indices(units.count, 1)]
    pairs = len(r)
    known = pairs > 3 and np.ptp(r) > 1e-9
    value = np.nan
    if known:
        excess = kurtosis(r, bias=False) + 3 * (pairs - 1) ** 2 / ((pairs - 2) * (pairs - 3))
        value = float((skew(r, bias=False) ** 2 + 1) / excess)
    histogram = np.histogram(r, HISTOGRAM, (-1, 1))[0]
    return Found([Measure("coefficient", value)], {"r_histogram": histogram})


def localisation(units: Units, places: Places) -> Found:
    """The mean distance of the pairs whose r is at least t (``distance``), and which share of all pairs these are
    (``pairs``). Where there is no such pair, there is no distance."""
    first, second = places.pairs
    apart = matrix_of(places.distances, places.pairs)
    r = units.correlations[first, second]
    like = [(first[r >= least], second[r >= least]) for least in THRESHOLDS]

    def statistic(order: Array) -> Array:
        # a unit's place is where the order has it
        place = np.argsort(order)
        return np.array([apart[place[one], place[other]].mean() if len(one) else np.nan for one, other in like])

    found = zip(THRESHOLDS, like, places.against_chance(statistic), strict=True)
    measures = []
    for least, (one, _other), (value, chance) in found:
        measures += [Measure("distance", value, least, chance)]
        measures += [Measure("pairs", len(one) / len(r) if len(r) else np.nan, least)]
    return Found(measures)


def standard_ranks(values: Array) -> Array:
    """Ranks less their mean, of length 1, for ``spearman``; NaN where all are equal."""
    ranks = rankdata(values)
    if len(ranks) == 0 or np.ptp(ranks) == 0:
        return np.full(len(ranks), np.nan)
    centred = ranks - ranks.mean()
    found: Array = centred / np.linalg.norm(centred)
    return found


def spearman(one: Array, other: Array) -> float:
    """The rank correlation of values, of which these are the ``standard_ranks``; NaN where one does not vary."""
    return float(one @ other) if len(one) else np.nan


def matrix_of(values: Array, pairs: Array) -> Array:
    """(C, C), symmetric, of the values (P,) of the pairs."""
    side = int(pairs.max(initial=0)) + 1
    found = np.zeros((side, side))
    found[pairs[0], pairs[1]] = found[pairs[1], pairs[0]] = values
    return found
