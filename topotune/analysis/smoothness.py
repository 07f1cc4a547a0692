"""Moran's I (1950): whether neighbours have like values. N maps of C units."""

import numpy as np

from topotune.analysis.places import Places
from topotune.analysis.units import Array, Found, Measure, Units


def smoothness(units: Units, places: Places) -> Found:
    """Moran's I of each image's map of responses, mean over the images, as the code of Truong & Hasson has it."""
    return Found([moran("responses", units.responses, places)])


def moran(name: str, maps: Array, places: Places) -> Measure:
    """Mean over the maps of I = (C / ΣW) · Σ_i x_i Σ_j W_ij x_j / Σ x_i², x a map less its mean, W_ij = 1 for
    neighbours. Maps that are the same everywhere are left out; where no other is left, or nothing has a neighbour,
    there is no value.

    The mean is ⟨W, M⟩ · C / ΣW with M the mean of x xᵀ / |x|², so that a permutation costs one sum over neighbours.

    Args:
        name: of the measure.
        maps: (N, C), or one (C,).
        places: where the units sit.
    """
    likeness, (one, other) = _products(np.atleast_2d(maps)), places.neighbours
    scale = len(places.positions) / len(one) if len(one) else np.nan
    return places.measure(name, lambda order: scale * likeness[order[one], order[other]].sum())


def _products(maps: Array) -> Array:
    centred = maps - maps.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1)
    varies = length > 1e-9 * np.linalg.norm(maps, axis=1)
    if not varies.any():
        return np.full((maps.shape[1], maps.shape[1]), np.nan)
    rows = centred[varies] / length[varies, None]
    found: Array = rows.T @ rows / len(rows)
    return found


def neighbour_difference(apart: Array, places: Places) -> Measure:
    """Mean difference of neighbours' preferences, over the pairs for which it is known.

    Args:
        apart: (C, C), NaN where one of the two has no preference.
        places: where the units sit.
    """
    one, other = places.neighbours

    def statistic(order: Array) -> float:
        known = apart[order[one], order[other]]
        known = known[np.isfinite(known)]
        return float(known.mean()) if len(known) else np.nan

    return places.measure("neighbour_difference", statistic)
