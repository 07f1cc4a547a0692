"""Expert units: those that tell one class from the rest. N images, C units, K classes."""

import numpy as np
from scipy.stats import rankdata

from topotune.analysis.correlation import matrix_of
from topotune.analysis.places import Places
from topotune.analysis.units import Array, Found, Measure, Units


def experts(units: Units, places: Places) -> Found:
    """A unit is an expert for a class where its AUROC against the rest is at least ``expert``.

    ``units``: how many are experts for any; ``experts``: for each class; ``spread``: the entropy of these numbers, from
    0 (all for one class) to 1; ``auroc``, ``d_prime``: of each unit's best class, mean over the units; ``distance``:
    the mean distance of two experts for one class, less than by chance where they cluster.
    """
    area, apart = auroc(units.responses, units.labels, units.classes), d_prime(units)
    known = np.where(np.isnan(area), -np.inf, area)
    best, expert = known.argmax(0), known >= units.settings.expert  # (C,), (K, C)
    every, number = np.arange(units.count), expert.sum(1)
    measures = [
        Measure("units", float(expert.any(0).sum())),
        Measure("spread", _spread(number)),
        Measure("auroc", float(area[best, every].mean())),
        Measure("d_prime", float(apart[best, every].mean())),
        _clustering(expert, places),
        *(Measure("experts", float(count), label) for label, count in enumerate(number)),
    ]
    maps = {"best_class": best, "auroc": area[best, every], "d_prime": apart[best, every]}
    return Found(measures, maps)


def auroc(responses: Array, labels: Array, classes: int) -> Array:
    """(K, C): the probability that a unit responds more to an image of the class than to one of the rest, ties
    counting half (Mann & Whitney's U). NaN for a class of which there is no image, or no other."""
    member = _members(labels, classes)
    own = member.sum(1, keepdims=True)
    pairs = own * (len(labels) - own)
    above = member @ rankdata(responses, axis=0) - own * (own + 1) / 2
    found: Array = np.divide(above, pairs, out=np.full_like(above, np.nan), where=pairs > 0)
    return found


def d_prime(units: Units) -> Array:
    """(K, C): (μ − μ_rest) / √((σ² + σ²_rest) / 2), population variances; 0 where neither varies, NaN where a class or
    its rest has no image."""
    member = _members(units.labels, units.classes)
    centred = units.responses - units.responses.mean(0)  # no digits are lost in the squares
    means, variances = [], []
    for part in (member, 1 - member):
        many = part.sum(1, keepdims=True)
        share = np.divide(part, many, out=np.full_like(part, np.nan), where=many > 0)
        means.append(share @ centred)
        variances.append(share @ np.square(centred) - np.square(means[-1]))
    scale = np.sqrt(np.clip(variances[0] + variances[1], 0, None) / 2)
    apart = means[0] - means[1]
    found: Array = np.divide(apart, scale, out=np.where(np.isnan(apart), np.nan, 0.0), where=scale > 0)
    return found


def _members(labels: Array, classes: int) -> Array:
    """(K, N), 1 where an image is of the class."""
    found: Array = (labels == np.arange(classes)[:, None]).astype(float)
    return found


def _spread(number: Array) -> float:
    """The entropy of the experts' numbers (K,) as a share of the greatest."""
    if not number.sum() or len(number) < 2:
        return np.nan
    share = number[number > 0] / number.sum()
    return float(-(share * np.log(share)).sum() / np.log(len(number))) + 0.0


def _clustering(expert: Array, places: Places) -> Measure:
    together = expert.astype(float).T @ expert  # (C, C): for how many classes both are experts
    one, other = places.pairs[:, together[places.pairs[0], places.pairs[1]] > 0]
    times, apart = together[one, other], matrix_of(places.distances, places.pairs)

    def statistic(order: Array) -> float:
        place = np.argsort(order)
        return float(apart[place[one], place[other]] @ times / times.sum()) if len(one) else np.nan

    return places.measure("distance", statistic)
