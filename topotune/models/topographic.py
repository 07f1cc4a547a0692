"""Building a network by name, choosing its topographic layers, and catching their outputs."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pkgutil import resolve_name
from types import TracebackType
from typing import Self

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from topotune.errors import InputError, unknown
from topotune.models import MODELS, READINGS

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def build_model(name: str, in_channels: int, classes: int) -> nn.Module:
    """A freshly initialised network (a key of MODELS); draws from torch's global generator.

    Raises:
        InputError: the name is unknown.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    model: nn.Module = resolve_name(MODELS[name].build)(in_channels, classes)
    return model


def select_layers(model: nn.Module, wanted: Sequence[str] = ()) -> dict[str, nn.Module]:
    """Layers of any network, by their names, in the order of ``named_modules``.

    Args:
        model: the network.
        wanted: names, and patterns (``layer4.*.conv2``) for convolutions and linear layers; all convolutions where
            there is none.

    Raises:
        InputError: a name or pattern matches nothing.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    found = set()
    for one in wanted:
        matching = [
            name
            for name, module in modules.items()
            if name == one or (isinstance(module, (*CONVOLUTIONS, nn.Linear)) and fnmatchcase(name, one))
        ]
        if not matching:
            near = [name for name, module in modules.items() if isinstance(module, (*CONVOLUTIONS, nn.Linear))]
            raise InputError(f"no layer matches {one!r}; convolutions and linear layers here are {', '.join(near)}")
        found.update(matching)
    if not wanted:
        found = {name for name, module in modules.items() if isinstance(module, CONVOLUTIONS)}
    if not found:
        raise InputError(f"{type(model).__name__} has no convolution; name the layers that shall be topographic")
    return {name: module for name, module in modules.items() if name in found}


def topographic_layers(
    name: str, model: nn.Module, layers: str = "code", loss: str = "channel"
) -> dict[str, nn.Module]:
    """The topographic layers of the network ``name``, by their names.

    Args:
        name: a key of MODELS.
        model: the network that was built.
        layers: ``code`` or ``paper``, the readings of the publication; ``convolutions``, all of them; or names and
            patterns with commas between.
        loss: a key of LOSSES; the neighbour losses are published for a fully connected layer.

    Raises:
        InputError: the model is unknown, or a name or pattern matches none of its layers.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    if layers in READINGS:
        return select_layers(model, MODELS[name].published(layers, loss))
    wanted = [] if layers == "convolutions" else [one.strip() for one in layers.split(",")]
    try:
        return select_layers(model, wanted)
    except InputError as error:
        raise InputError(f"model {name!r}: layers = {layers!r}: {error}") from None


class LayerOutputs:
    """Within this context the forward pass leaves the layers' outputs in ``outputs``; after it no hook stays behind.

    with LayerOutputs(layers) as caught:
        logits = model(images)
    caught.outputs    # name -> (N, C, *spatial)

    A linear layer's output (N, ..., C) is left as (N, C, ...). A layer that runs more than once in a forward pass
    leaves its last output. A network that torch.compile compiles must run for the first time within the context.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self._layers = dict(layers)
        self._handles: list[RemovableHandle] = []
        self._open = False  # a compiled network keeps its hooks, and is asked this
        self.outputs: dict[str, Tensor] = {}

    def __enter__(self) -> Self:
        if self._open:
            raise InputError("the outputs of these layers are being caught already: one 'with' within another")
        self._open = True
        self._handles = [
            layer.register_forward_hook(partial(self._catch, name)) for name, layer in self._layers.items()
        ]
        return self

    def _catch(self, name: str, module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._open:
            if not isinstance(output, Tensor):
                raise InputError(f"layer {name!r} ({type(module).__name__}) has no single tensor as its output")
            self.outputs[name] = output.movedim(-1, 1) if isinstance(module, nn.Linear) else output

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if kind is not None:
            self.outputs.clear()
        for handle in self._handles:
            handle.remove()
        self._handles = []
