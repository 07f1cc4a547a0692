"""A trained network's responses: to images of the test part, to their mirror images, to gratings and to spots.

M stimuli, C units, H, W the images' size.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from topotune.analysis import stimuli
from topotune.analysis.analyses import Settings
from topotune.analysis.units import Array, Units
from topotune.config import TrialConfig
from topotune.data.batches import derive_seed, normalise, raw_batches
from topotune.data.splits import Split, load_split
from topotune.errors import InputError
from topotune.models.topographic import LayerOutputs, select_layers
from topotune.training.checkpoint import check_data, load_config, load_model
from topotune.training.device import Precision, pick_device
from topotune.training.records import images_at_once

SEED = 0  # of the images that are drawn: never another, so that all networks see the same


@dataclass
class Subject:
    """A network on its device, with the layers that are studied and the images that it is shown.

    most: images at once. data: the folder of the data sets. Responses are kept: (M, C) a layer and kind of stimulus,
    whatever the size of the network.
    """

    config: TrialConfig
    model: nn.Module
    layers: Mapping[str, nn.Module]
    split: Split
    precision: Precision
    most: int
    settings: Settings
    data: Path | None = None
    _kept: dict[str, dict[str, Array]] = field(default_factory=dict)

    def units(self, layer: str) -> Units:
        """One layer's units.

        Raises:
            InputError: the layer has no weights, or is not called when the network runs.
        """
        weights = getattr(self.layers[layer], "weight", None)
        if not isinstance(weights, Tensor) or weights.dim() < 2:
            raise InputError(
                f"layer {layer!r} ({type(self.layers[layer]).__name__}) has no units with incoming weights"
            )
        rows = weights.detach().flatten(1).double().cpu().numpy()
        responses, labels = self.responses("images", layer), self.labels()
        classes = self.split.entry.classes
        return Units(responses, labels, classes, rows, partial(self.responses, layer=layer), self.settings)

    def responses(self, stimulus: str, layer: str) -> Array:
        """Responses of a layer's units (…, C), float64: ``images`` and ``mirrored`` (M, C), ``gratings`` (orientations,
        frequencies, phases, C), ``spots`` (distances, directions, C), less those to the background; ``validation``
        (M, C), to other images than all the rest. ``frequencies``: the gratings', for all layers alike."""
        size = self.split.entry.shape[1:]
        if stimulus == "frequencies":
            return np.asarray(stimuli.frequencies(*size))
        if stimulus not in self._kept:
            split = self._validation() if stimulus == "validation" else self.split
            self._kept[stimulus] = self._run(_STIMULI[stimulus](split, self.most))
        found = self._kept[stimulus][layer].astype(np.float64)
        if stimulus == "gratings":
            return found.reshape(stimuli.ORIENTATIONS, stimuli.FREQUENCIES, stimuli.PHASES, -1)
        if stimulus == "spots":
            found = (found[1:] - found[0]).reshape(stimuli.DISTANCES, stimuli.DIRECTIONS, -1)
        return found

    def labels(self) -> Array:
        """The classes (M,) of the images; of sounds, each window has its clip's."""
        batches = raw_batches(self.split, self.most)
        own = [batch.labels if batch.owner is None else batch.labels[batch.owner] for batch in batches]
        found: Array = torch.cat(own).cpu().numpy()
        return found

    def _validation(self) -> Split:
        split = load_split(self.config.dataset, "validation", self.data)
        return some_of(split, self.settings.images).to(self.precision.device)

    @torch.no_grad()
    def _run(self, batches: Iterable[Tensor]) -> dict[str, Array]:
        """The responses (M, C) to normalised stimuli, layer by layer."""
        found: dict[str, list[Array]] = {name: [] for name in self.layers}
        self.model.eval()
        for images in batches:
            with LayerOutputs(self.layers) as caught, self.precision.autocast():
                self.model(self.precision.images(images))
            for name, own in found.items():
                if name not in caught.outputs:
                    raise InputError(f"layer {name!r} left no output: model {self.config.model!r} never calls it")
                output = caught.outputs[name].float()
                own.append((output.flatten(2).mean(2) if output.dim() > 2 else output).cpu().numpy())
        return {name: np.concatenate(own) for name, own in found.items()}


def open_subject(checkpoint: Path, data: Path | None, layers: Iterable[str], settings: Settings) -> Subject:
    """The network of a checkpoint, on the device that its trial names, and images of its data set's test part.

    Raises:
        InputError: the checkpoint or the data are missing or damaged, or there is no such layer.
    """
    config, model = load_config(checkpoint), load_model(checkpoint)
    if config.threads:
        torch.set_num_threads(config.threads)
    device = pick_device(config.device)
    split = some_of(load_split(config.dataset, "test", data), settings.images)
    check_data(checkpoint, config.dataset, split.entry)
    precision = Precision(device, config.precision == "bfloat16")
    model.to(device)
    return Subject(
        config, model, select_layers(model, tuple(layers)), split.to(device), precision, images_at_once(checkpoint),
        settings, data,
    )  # fmt: skip


def some_of(split: Split, images: int) -> Split:
    """At most so many samples of a split, or all for 0; which ones is drawn, since a split may be in the order of its
    classes, and always the same."""
    if not 0 < images < len(split):
        return split
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(derive_seed(SEED, "analysis")))
    return split.take(order[:images].sort().values)


def _images(split: Split, most: int) -> Iterator[Tensor]:
    for batch in raw_batches(split, most):
        for images in torch.split(batch.images, most):
            yield normalise(images, split.entry)


def _mirrored(split: Split, most: int) -> Iterator[Tensor]:
    return (images.flip(-1) for images in _images(split, most))


def _gratings(split: Split, most: int) -> Iterator[Tensor]:
    return _pictures(stimuli.gratings(*split.entry.shape[1:]), split, most)


def _spots(split: Split, most: int) -> Iterator[Tensor]:
    """The background alone, which is the data set's mean, then white spots on it."""
    channels, height, width = split.entry.shape
    drawn = chain([torch.zeros(1, height, width)], stimuli.spots(height, width))
    mean = torch.tensor(split.entry.mean).view(channels, 1, 1)
    return _pictures((spot.unsqueeze(1) * (1 - mean) + mean for spot in drawn), split, most)


def _pictures(drawn: Iterable[Tensor], split: Split, most: int) -> Iterator[Tensor]:
    """Pictures (M, H, W) or (M, channels, H, W) in [0, 1], ready for the network."""
    channels = split.entry.shape[0]
    for pictures in drawn:
        whole = pictures if pictures.dim() == 4 else pictures.unsqueeze(1).expand(-1, channels, -1, -1)
        for images in torch.split(whole.to(split.labels.device), most):
            yield normalise(images, split.entry)


_STIMULI: dict[str, Callable[[Split, int], Iterator[Tensor]]] = {
    "images": _images,
    "validation": _images,
    "mirrored": _mirrored,
    "gratings": _gratings,
    "spots": _spots,
}
