"""Symmetry sensitivity: whether a unit responds to an image as to its mirror image."""

import numpy as np

from topotune.analysis.places import Places
from topotune.analysis.smoothness import moran
from topotune.analysis.units import Array, Found, Measure, Units


def symmetry(units: Units, places: Places) -> Found:
    """Each unit's Pearson correlation, over the images, of its responses to them and to their left-right mirror images:
    the mean over the units (``mirror_correlation``), and Moran's I of its map."""
    found = paired_correlation(units.responses, units.probe("mirrored"))
    return Found(
        [Measure("mirror_correlation", float(found.mean())), moran("moran", found, places)],
        {"mirror_correlation": found},
    )


def paired_correlation(one: Array, other: Array) -> Array:
    """(C,): Pearson r of the columns of two arrays (N, C); 0 where one of them does not vary."""
    first, second = one - one.mean(0), other - other.mean(0)
    length = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    least = 1e-12 * np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    product = (first * second).sum(0)
    found: Array = np.divide(product, length, out=np.zeros_like(product), where=length > least)
    return found
