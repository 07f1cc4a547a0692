"""Input sensitivity: how much a unit's response varies from image to image."""

from topotune.analysis.places import Places
from topotune.analysis.smoothness import moran
from topotune.analysis.units import Found, Measure, Units


def sensitivity(units: Units, places: Places) -> Found:
    """The variance of each unit's response over the images: its mean over the units, and Moran's I of its map."""
    variance = units.responses.var(0)
    return Found(
        [Measure("variance", float(variance.mean())), moran("moran", variance, places)], {"variance": variance}
    )
