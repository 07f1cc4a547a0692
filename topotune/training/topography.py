"""Topography for any torch network: its layers' places, and the loss that they ask for.

N batch, C channels, L topographic layers.
"""

import math
from collections.abc import Sequence
from pkgutil import resolve_name
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from topotune.errors import InputError, unknown
from topotune.losses import LAYER_REDUCTIONS, LOSSES, check_organisation
from topotune.models.topographic import LayerOutputs, select_layers
from topotune.topography import DISTANCES
from topotune.topography.learned import assign, closeness, swap
from topotune.topography.positions import positions
from topotune.topography.targets import neighbour_pairs, sheet_cells, target_similarity


class Topography:
    """The topographic loss of a network. Three lines add it to a training loop:

        topography = Topography(model, "grid2d", weight=0.1)
        ...
        with topography:
            logits = model(images)
        loss = F.cross_entropy(logits, labels) + topography.loss()

    The model stays as it is: nothing is added to its ``state_dict``, hooks are there within the ``with`` only, and
    ``loss`` lets go of the outputs. With torch.compile, keep the ``with`` around the first run of the compiled model
    and all that follow. With DistributedDataParallel, give it the model within, and run the one around it.

    Args:
        model: any network; it may be on any device, and move later.
        organisation: where channels sit, a key of POSITIONS.
        loss: a key of LOSSES.
        weight: λ. It may be changed between steps.
        layers: names and patterns (``layer4.*.conv2``) of convolutions and linear layers; all convolutions where
            left out.
        distance: ``euclidean`` or ``l1``, between positions.
        layer_reduction: ``sum`` over the layers, as in the first paper's code, or ``mean``, as in its text.
        options: of the organisation (``grid_divisor``, ``radius``, ``nested_factor``).

    Raises:
        InputError: an unknown name, a pattern that matches no layer, a loss that this organisation cannot have, a
            weight out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        organisation: str = "grid2d",
        *,
        loss: str = "channel",
        weight: float = 1.0,
        layers: Sequence[str] | str = (),
        distance: str = "euclidean",
        layer_reduction: str = "sum",
        **options: Any,
    ) -> None:
        if loss not in LOSSES:
            raise unknown("loss", loss, LOSSES)
        if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise InputError(f"weight = {weight!r} must be a finite number >= 0")
        if layer_reduction not in LAYER_REDUCTIONS:
            raise unknown("layer_reduction", layer_reduction, LAYER_REDUCTIONS)
        if distance not in DISTANCES:
            raise unknown("distance", distance, DISTANCES)
        positions(organisation, 1, **options)  # the names are checked now, not in the first step
        check_organisation(loss, organisation)
        self.layers = select_layers(model, [layers] if isinstance(layers, str) else layers)
        self.weight, self.entry = weight, LOSSES[loss]
        self.permutations: dict[str, Tensor] = {}  # layer -> the position of each channel, where not its own
        self._place = (organisation, distance, options)
        self._mean = layer_reduction == "mean"
        self._function = resolve_name(self.entry.function)
        self._ready = resolve_name(self.entry.ready) if self.entry.ready else _as_it_is
        self._outputs = LayerOutputs(self.layers if self.entry.reads == "outputs" else {})
        self._channels: dict[str, int] = {}  # of layers that say how many they have
        self._geometries: dict[tuple[str, torch.device, torch.dtype], Any] = {}
        for name, layer in self.layers.items():
            self._check(name, layer)

    def __enter__(self) -> Self:
        self._outputs.outputs.clear()
        self._outputs.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._outputs.__exit__(kind, error, trace)

    def loss(self) -> Tensor:
        """``weight`` times ``value()``."""
        return self.weight * self.value()

    def value(self) -> Tensor:
        """The unweighted loss: sum or mean over the layers of the last forward pass; a scalar.

        Raises:
            InputError: no forward pass ran within the context since the last value.
        """
        read = self.take()
        layers = [self._function(tensor, self.geometry(name, tensor)) for name, tensor in read.items()]
        total = torch.stack(layers).sum()
        return total / len(layers) if self._mean else total

    def take(self) -> dict[str, Tensor]:
        """What the loss reads, layer by layer: the outputs caught last, which are let go of, or the weights."""
        if self.entry.reads == "weights":
            return {name: layer.weight for name, layer in self.layers.items()}  # type: ignore[misc]
        caught = self._outputs.outputs
        missing = [name for name in self.layers if name not in caught]
        if missing:
            raise InputError(
                f"layer {missing[0]!r} left no output: run the model within 'with topography:', once for each loss, "
                "a compiled model also for the first time; or the model never calls this layer"
            )
        read = {name: caught[name] for name in self.layers}
        caught.clear()
        return read

    def positions(self, name: str, channels: int) -> Tensor:
        """The positions (C, D) of one layer's channels, float64."""
        organisation, _distance, options = self._place
        places = positions(organisation, channels, **options)
        return places[self.permutations[name]] if name in self.permutations else places

    def geometry(self, name: str, like: Tensor) -> Any:
        """What the loss makes of one layer's positions, for what it reads; made once for each device and precision."""
        exact = torch.float64 if like.dtype == torch.float64 else torch.float32
        key = (name, like.device, exact)
        if key not in self._geometries:
            channels = like.shape[1] if self.entry.reads == "outputs" else like.shape[0]
            if self._channels.get(name, channels) != channels:
                raise InputError(
                    f"layer {name!r} has {self._channels[name]} channels, but its {self.entry.reads} are laid out for "
                    f"{channels}: {tuple(like.shape)}"
                )
            made = self._geometry(self.positions(name, channels))
            made = made.to(exact) if made.dtype.is_floating_point else made
            self._geometries[key] = self._ready(made.to(like.device))
        return self._geometries[key]

    @torch.no_grad()
    def rearrange(self, *, anew: bool = False) -> list[dict[str, Any]]:
        """Give the channels of each layer positions that lower the loss of the last forward pass (of the weights).

        Args:
            anew: by quadratic assignment from nothing; else by swaps from the positions that they have.

        Returns:
            for each layer its name, loss before and after, how many channels moved, and the permutation.

        Raises:
            InputError: the loss is no sum over pairs of channels.
        """
        if self.entry.affinity is None:
            raise InputError("this loss is no sum over pairs of channels: positions cannot be learned for it")
        affinity, rounds = resolve_name(self.entry.affinity), []
        for name, tensor in self.take().items():
            before = float(self._function(tensor, self.geometry(name, tensor)))
            likeness = affinity(tensor).double().cpu()
            channels = len(likeness)
            old = self.permutations.get(name, torch.arange(channels))
            organisation, _distance, options = self._place
            close = closeness(self._geometry(positions(organisation, channels, **options)), channels)
            new = assign(likeness, close) if anew else swap(likeness, close, old)
            self.arrange(name, new)
            after = float(self._function(tensor, self.geometry(name, tensor)))
            rounds.append(
                {"layer": name, "loss_before": before, "loss_after": after, "moved": int((new != old).sum()),
                 "permutation": new.tolist()}
            )  # fmt: skip
        return rounds

    def arrange(self, name: str, permutation: Tensor) -> None:
        """From now on channel i of the layer has position ``permutation[i]`` of the organisation."""
        self.permutations[name] = permutation
        self._geometries = {key: made for key, made in self._geometries.items() if key[0] != name}

    def _geometry(self, places: Tensor) -> Tensor:
        if self.entry.geometry == "neighbours":
            return neighbour_pairs(places)
        return sheet_cells(places) if self.entry.geometry == "sheet" else target_similarity(places, self._place[1])

    def _check(self, name: str, layer: nn.Module) -> None:
        """Whatever can be known before the first step: the layer's number of channels, and whether it has weights."""
        weight = getattr(layer, "weight", None)
        if self.entry.reads == "weights" and (not isinstance(weight, Tensor) or weight.dim() < 2):
            raise InputError(f"layer {name!r} ({type(layer).__name__}) has no weights (C, ...) for this loss")
        channels = getattr(layer, "out_channels", getattr(layer, "out_features", None))
        if isinstance(channels, int):
            self._channels[name] = channels


def _as_it_is(geometry: Tensor) -> Tensor:
    return geometry
