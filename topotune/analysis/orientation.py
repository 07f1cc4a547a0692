"""Orientation tuning, by gratings: each unit's preference, how sharp it is, and the map of preferences.

Our definitions. C units, Q squares of a lattice.
"""

import numpy as np

from topotune.analysis import stimuli
from topotune.analysis.places import Places
from topotune.analysis.smoothness import neighbour_difference
from topotune.analysis.units import Array, Found, Measure, Units

FLAT = 1e-6  # a unit whose responses differ by less than this share of them has no preference


def orientation(units: Units, places: Places) -> Found:
    """A unit's tuning curve R(θ) is its response to the gratings of the frequency that it responds to most, mean over
    the phases, less the lowest (before an activation, responses have no zero of their own).

    ``circular_variance``: 1 − |Σ R e^(2iθ)| / Σ R, from 0 (one orientation) to 1 (none), mean over the units;
    ``tuned``: the share of units that have a preference at all; ``frequency``: the preferred one, in cycles across the
    image, mean over the tuned units; ``neighbour_difference``: of the preferences, in degrees; ``pinwheels``: squares
    of four units around which the preference turns once through all orientations (flat lattices only). Where no unit
    is tuned, there is a value of ``tuned`` only.
    """
    responses = units.probe("gratings")  # (16, 5, 8, C)
    tuning, frequency = tuning_curves(responses)
    preferred, variance = preference(tuning)
    tuned = np.isfinite(preferred)
    measures = [
        Measure("circular_variance", float(variance[tuned].mean()) if tuned.any() else np.nan),
        Measure("tuned", float(tuned.mean())),
        Measure("frequency", float(units.probe("frequencies")[frequency[tuned]].mean()) if tuned.any() else np.nan),
        neighbour_difference(np.degrees(angle_between(preferred[:, None], preferred[None])), places),
    ]
    if len(places.squares):
        measures.append(places.measure("pinwheels", lambda order: pinwheels(preferred[order[places.squares]])))
    return Found(measures, {"orientation": preferred, "circular_variance": variance})


def tuning_curves(responses: Array) -> tuple[Array, Array]:
    """Of responses (16, 5, 8, C), the tuning curves (16, C) at each unit's preferred frequency, and its index (C,)."""
    mean = responses.mean(2)  # (16, 5, C)
    frequency = mean.max(0).argmax(0)
    curves = np.take_along_axis(mean, frequency[None, None], 1)[:, 0]
    tuning = curves - curves.min(0)
    flat = tuning.max(0) <= FLAT * np.abs(responses).max((0, 1, 2))
    return np.where(flat, np.nan, tuning), frequency


def preference(tuning: Array) -> tuple[Array, Array]:
    """The preferred orientation in [0, π) and the circular variance of tuning curves (16, C): (C,) each, NaN where a
    curve is."""
    vector = np.exp(2j * stimuli.orientations().numpy()) @ tuning
    preferred = np.angle(vector) / 2 % np.pi
    return preferred, 1 - np.abs(vector) / tuning.sum(0)


def angle_between(one: Array, other: Array) -> Array:
    """By how much two orientations differ: from 0 to π/2."""
    return np.abs(turn(one, other))


def turn(one: Array, other: Array) -> Array:
    """The shortest way from one orientation to another, from −π/2 to π/2."""
    found: Array = np.angle(np.exp(2j * (other - one))) / 2
    return found


def pinwheels(around: Array) -> float:
    """How many of the squares (Q, 4) have preferences that turn by ± π on the way around; those with a unit that has no
    preference have none. NaN where no unit has one."""
    total = turn(around, np.roll(around, -1, axis=1)).sum(1)
    return float((np.abs(total) > np.pi / 2).sum()) if np.isfinite(around).any() else np.nan
