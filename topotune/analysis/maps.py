"""Weight and activation maps, to be drawn on the units' positions, and how smooth they are."""

import numpy as np

from topotune.analysis.places import Places
from topotune.analysis.smoothness import moran
from topotune.analysis.units import Array, Found, Units

COMPONENTS = 3


def maps(units: Units, places: Places) -> Found:
    """Moran's I of the maps of incoming weights, one for each input (``weights``), and of the maps of mean responses to
    the images of each class (``classes``), means over the maps.

    Maps: ``weight_norm`` (C,); ``weight_components`` (3, C), the units' places along the first principal components of
    their weights; ``mean_response`` (C,); ``class_responses`` (K, C), NaN for a class of which there is no image.
    """
    means = class_means(units)
    found = [moran("weights", units.weights.T, places), moran("classes", means[np.isfinite(means).all(1)], places)]
    return Found(
        found,
        {
            "weight_norm": np.linalg.norm(units.weights, axis=1),
            "weight_components": components(units.weights),
            "mean_response": units.responses.mean(0),
            "class_responses": means,
        },
    )


def class_means(units: Units) -> Array:
    """(K, C): each unit's mean response to the images of each class."""
    found = np.full((units.classes, units.count), np.nan)
    for label in np.unique(units.labels):
        found[label] = units.responses[units.labels == label].mean(0)
    return found


def components(weights: Array) -> Array:
    """(3, C): the units' scores on the principal components of the weights (C, E), which have no sign of their own: the
    largest score is positive. Those that there are not are 0."""
    centred = weights - weights.mean(0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    scores = (vectors * np.sqrt(np.clip(values, 0, None))).T[::-1][:COMPONENTS]
    signs = np.sign(np.take_along_axis(scores, np.abs(scores).argmax(1)[:, None], 1))
    found = np.zeros((COMPONENTS, len(weights)))
    found[: len(scores)] = scores * np.where(signs == 0, 1, signs)
    return found
