"""Effective dimensionality: the participation ratio (Σλ)² / Σλ² of the eigenvalues λ of a covariance."""

import numpy as np

from topotune.analysis.places import Places
from topotune.analysis.units import Array, Found, Measure, Units


def dimensionality(units: Units, _places: Places) -> Found:
    """Of the responses over the images (``activations``, of at most C dimensions), and of the units' incoming weights
    over the units (``weights``, at most E)."""
    return Found([Measure("activations", effective(units.responses)), Measure("weights", effective(units.weights))])


def effective(samples: Array) -> float:
    """The participation ratio of samples (N, C); from 1 to the smaller of C and N − 1. No value where nothing varies.

    Both sums are traces, so that no eigenvalue need be found: Σλ² is that of either Gram matrix, the smaller one here.
    """
    centred = samples - samples.mean(0)
    gram = centred.T @ centred if centred.shape[0] > centred.shape[1] else centred @ centred.T
    squares = float(np.square(gram).sum())
    return float(np.trace(gram) ** 2 / squares) if squares else np.nan
