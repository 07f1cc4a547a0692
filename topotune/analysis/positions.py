"""Which layers of a network are studied, and on which positions their units are looked at."""

from collections.abc import Iterable
from pathlib import Path

import torch

from topotune.analysis.places import Places
from topotune.analysis.responses import Subject
from topotune.config import NONE, TrialConfig
from topotune.losses.neighbours import correlations
from topotune.models.topographic import build_model, topographic_layers
from topotune.topography import POSITIONS, arrangement_of
from topotune.topography.learned import assign, closeness
from topotune.topography.positions import positions
from topotune.topography.targets import neighbour_pairs, target_similarity
from topotune.training.arrangement import kept_permutations

ASSIGNED = "-assigned"


def layers_of(config: TrialConfig, layers: str = "") -> tuple[str, ...]:
    """The layers of a trial's network by their names: its topographic ones, or those that ``layers`` says.

    Raises:
        InputError: a name or pattern matches none.
    """
    with torch.device("meta"):
        network = build_model(config.model, 1, 2)
    return tuple(topographic_layers(config.model, network, layers or config.layers, config.loss))


def every_layer(configs: Iterable[TrialConfig]) -> tuple[str, ...]:
    """All layers of these trials' networks, from the input to the output."""
    found: dict[str, None] = {}
    for model in dict.fromkeys(config.model for config in configs):
        with torch.device("meta"):
            network = build_model(model, 1, 2)
        found |= dict.fromkeys(name for name, _layer in network.named_modules())
    return tuple(found)


def views_of(config: TrialConfig, organisations: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the positions that a network is looked at: its trial's own; of a control, which has none, those of
    each of these organisations, as they come and as they suit it best."""
    if config.topography != NONE:
        return (config.topography,)
    return tuple(name + way for name in organisations for way in ("", ASSIGNED))


def places_of(subject: Subject, layer: str, view: str, checkpoint: Path) -> Places:
    """Where one layer's units sit, in one of the views of its network.

    Positions ``…-assigned`` of a control are found by quadratic assignment: close ones for units that correlate over
    images of the validation part, which no measure is taken of.
    """
    config, settings, organisation = subject.config, subject.settings, arrangement_of(view)[0]
    options = {} if config.topography == NONE else config.organisation_options
    places = positions(organisation, subject.responses("images", layer).shape[1], **options)
    if config.topography != NONE:
        order = kept_permutations(checkpoint, config).get(layer)
    elif view.endswith(ASSIGNED):
        lattice = POSITIONS[organisation].lattice
        geometry = neighbour_pairs(places) if lattice else target_similarity(places)
        likeness = correlations(torch.from_numpy(subject.responses("validation", layer)))
        order = assign(likeness, closeness(geometry, len(places)))
    else:
        order = None
    own = places if order is None else places[order]
    return Places(view, own.numpy(), settings.permutations, settings.seed)
