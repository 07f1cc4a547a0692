"""Building a network by name, and catching the outputs of its topographic layers."""

from collections.abc import Iterable
from pkgutil import resolve_name
from types import TracebackType
from typing import Self

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from topotune.errors import InputError, unknown
from topotune.models import MODELS


def build_model(name: str, in_channels: int, classes: int) -> nn.Module:
    """A freshly initialised network (a key of MODELS); draws from torch's global generator.

    Raises:
        InputError: the name is unknown.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    model: nn.Module = resolve_name(MODELS[name].build)(in_channels, classes)
    return model


def topographic_layers(name: str, model: nn.Module) -> dict[str, nn.Module]:
    """The topographic layers of the network ``name``, by their names, in the order of the forward pass.

    Raises:
        InputError: the model is unknown or has no layer of that name.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    modules = dict(model.named_modules())
    missing = [layer for layer in MODELS[name].layers if layer not in modules]
    if missing:
        raise InputError(f"model {name!r} has no layer {missing[0]!r}")
    return {layer: modules[layer] for layer in MODELS[name].layers}


class LayerOutputs:
    """Within this context the forward pass leaves the layers' outputs in ``outputs``; after it nothing stays behind.

    with LayerOutputs(layers) as caught:
        logits = model(images)
    caught.outputs    # one (N, C, *spatial) tensor a layer, in the order of the calls
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        self._layers = list(layers)
        self._handles: list[RemovableHandle] = []
        self.outputs: list[Tensor] = []

    def __enter__(self) -> Self:
        self._handles = [layer.register_forward_hook(self._catch) for layer in self._layers]
        return self

    def _catch(self, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.outputs.append(output)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
