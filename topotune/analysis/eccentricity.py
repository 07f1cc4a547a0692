"""Eccentricity: the response to a spot at growing distance from the centre. Our definitions."""

import numpy as np

from topotune.analysis import stimuli
from topotune.analysis.places import Places
from topotune.analysis.smoothness import neighbour_difference
from topotune.analysis.units import Found, Measure, Units


def eccentricity(units: Units, places: Places) -> Found:
    """A unit's profile is its response to a white spot on the data set's mean, mean over the directions, at distances
    from 0, the centre, towards 1, the edge; divided by its greatest size, since units differ in scale.

    ``profile``: at each distance, mean over the units; ``preferred``: the distance of the greatest response, mean over
    the units; ``neighbour_difference``: of the preferences.
    """
    distances = stimuli.eccentricities().numpy()
    response = units.probe("spots").mean(1)  # (8, 8, C) -> (8, C)
    largest = np.abs(response).max(0)
    profile = np.divide(response, largest, out=np.zeros_like(response), where=largest > 0)
    preferred = np.where(np.ptp(profile, axis=0) > 1e-6, distances[profile.argmax(0)], np.nan)
    known = np.isfinite(preferred)
    measures = [
        Measure("preferred", float(preferred[known].mean()) if known.any() else np.nan),
        neighbour_difference(np.abs(preferred[:, None] - preferred[None]), places),
        *(Measure("profile", float(mean), float(at)) for at, mean in zip(distances, profile.mean(1), strict=True)),
    ]
    return Found(measures, {"eccentricity": preferred})
