"""A physically smaller network that computes what one with zeroed channels computes.

A channel that a layer sets to zero is the same number at every position of every image, and stays so through batch
normalisation, activations and pooling. It is followed through the network's graph as that number, until a layer of
weights reads it: there it becomes a bias. Where that layer pads with zeros, the number is missing at the borders;
what it adds is then the convolution of a plane of ones, one for a whole batch, which is exact at every size.

C channels of a tensor in the whole network, K of them computed in the smaller one.
"""

import copy
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F

from topotune.errors import InputError
from topotune.models.folded import BorderedConv2d, Sum, Whole


@dataclass(frozen=True)
class Known:
    """What is known of a tensor: kept (K,), which channels are computed; constant (C,), the values of the others."""

    kept: Tensor
    constant: Tensor

    @property
    def gone(self) -> Tensor:
        """The channels (C − K,) that are constant."""
        there = torch.ones(len(self.constant), dtype=torch.bool)
        there[self.kept] = False
        return there.nonzero().flatten()

    @property
    def whole(self) -> bool:
        return len(self.kept) == len(self.constant)

    def with_constant(self, constant: Tensor) -> "Known":
        return Known(self.kept, constant)


def compact(model: nn.Module, gone: Mapping[str, Sequence[int]], images: Tensor) -> fx.GraphModule:
    """The network without the channels that are gone, in evaluation mode; ``model`` stays as it is.

        gone = topotune.prune_channels(model, 0.5, layers=["conv1", "conv2"])
        small = topotune.compact(model, gone, torch.zeros(1, 1, 8, 8))

    Its outputs are those of ``model`` with weights and biases of these channels at zero, but for rounding. A tensor
    keeps one channel at least. What is computed depends on ``gone`` alone, not on the weights, so that a
    ``state_dict`` of one such network fits any other.

    A channel cannot go where it is added to one that lives (the end of a residual block): the filter goes, its place
    stays. Operations that are not known here get all channels.

    Args:
        model: a network of convolutions and linear layers that torch.fx can trace.
        gone: layer -> output channels.
        images: an example (N, C, H, W), for the shapes.

    Raises:
        InputError: no such layer or channel, or one layer of weights is run twice.
    """
    device = next(model.parameters()).device
    network = copy.deepcopy(model).cpu().eval()
    for name, channels in gone.items():
        _silence(network, name, channels)
    traced = fx.symbolic_trace(network)
    ShapeProp(traced).propagate(images.cpu())  # type: ignore[no-untyped-call]
    rewriter = _Rewriter(traced, gone)
    for node in list(traced.graph.nodes):
        rewriter.visit(node)
    traced.graph.lint()  # type: ignore[no-untyped-call]
    traced.recompile()
    traced.delete_all_unused_submodules()
    return traced.to(device).eval()


def _silence(network: nn.Module, name: str, channels: Sequence[int]) -> None:
    try:
        layer = network.get_submodule(name)
    except AttributeError:
        raise InputError(f"no layer {name!r} in {type(network).__name__}") from None
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    if not isinstance(weight, Tensor) or not all(0 <= one < len(weight) for one in channels):
        raise InputError(f"layer {name!r} ({type(layer).__name__}) has not all of the channels {list(channels)}")
    with torch.no_grad():
        weight[list(channels)] = 0
        if bias is not None:
            bias[list(channels)] = 0


class _Rewriter:
    """Goes through the graph once, and makes every layer smaller by what is known of its inputs."""

    def __init__(self, traced: fx.GraphModule, gone: Mapping[str, Sequence[int]]) -> None:
        self.traced, self.gone = traced, gone
        self.known: dict[fx.Node, Known] = {}
        self._seen: set[str] = set()

    def visit(self, node: fx.Node) -> None:
        rule: Callable[..., Known | None] | None = None
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            if str(node.target) in self._seen and next(module.parameters(), None) is not None:
                raise InputError(f"layer {node.target!r} is run twice: such a network cannot be made smaller here")
            self._seen.add(str(node.target))
            rule = MODULES.get(type(module))
        elif node.op == "call_function":
            rule = FUNCTIONS.get(node.target)
        found = rule(self, node) if rule else None
        if found is None:
            found = self._as_it_was(node)
        if found is not None:
            self.known[node] = found

    def of(self, node: fx.Node) -> Known:
        """What is known of the first argument."""
        first = node.args[0]
        assert isinstance(first, fx.Node)
        return self.known[first]

    def module(self, node: fx.Node) -> Any:
        return self.traced.get_submodule(str(node.target))

    def left(self, node: fx.Node, channels: int) -> Known:
        """The output of a layer of weights: without what is gone, but for one channel at least."""
        out = set(self.gone.get(str(node.target), ()))
        kept = [one for one in range(channels) if one not in out] or [0]
        return Known(torch.tensor(kept), torch.zeros(channels, dtype=torch.float64))

    def replace(self, node: fx.Node, module: nn.Module) -> None:
        """Put ``module`` in the place of the node's own."""
        self.traced.set_submodule(str(node.target), module)

    def call(self, after: fx.Node, name: str, module: nn.Module, inputs: tuple[fx.Node, ...]) -> fx.Node:
        """A new node that runs ``module``."""
        self.traced.add_submodule(name, module)
        with self.traced.graph.inserting_after(after):
            return self.traced.graph.call_module(name, inputs)

    def _as_it_was(self, node: fx.Node) -> Known | None:
        """An operation that is not known here: it gets whole tensors, and gives a whole one."""
        for one in node.all_input_nodes:
            if one in self.known and not self.known[one].whole:
                own = self.known[one]
                made = self.call(one, f"whole_{one.name}", Whole(own.kept, own.constant), (one,))
                node.replace_input_with(one, made)
        meta = node.meta.get("tensor_meta")
        shape: Sequence[int] = getattr(meta, "shape", ())
        if len(shape) < 2:
            return None
        return Known(torch.arange(shape[1]), torch.zeros(shape[1], dtype=torch.float64))


@torch.no_grad()
def _convolution(rewriter: _Rewriter, node: fx.Node) -> Known | None:
    old, known = rewriter.module(node), rewriter.of(node)
    if old.groups != 1:
        return None
    out, gone = rewriter.left(node, old.out_channels), known.gone
    if known.whole and out.whole:
        return out
    weight = old.weight[out.kept]
    # what the constant channels add where the kernel lies within the image: (C, 1, *kernel)
    border = (weight[:, gone].double() * known.constant[gone].view(-1, 1, 1)).sum(1, keepdim=True)
    pads = old.padding_mode == "zeros" and old.padding != "valid" and any(_padding(old))
    bordered = len(gone) > 0 and pads
    biased = old.bias is not None or (len(gone) > 0 and not pads)
    kind = BorderedConv2d if bordered else nn.Conv2d
    new = kind(
        len(known.kept), len(out.kept), old.kernel_size, old.stride, old.padding, old.dilation, 1, biased,
        old.padding_mode, device="meta", dtype=old.weight.dtype,
    ).to_empty(device=old.weight.device)  # fmt: skip
    new.weight.copy_(weight[:, known.kept])
    if new.bias is not None:
        bias = torch.zeros_like(border[:, 0, 0, 0]) if old.bias is None else old.bias[out.kept].double()
        new.bias.copy_(bias if pads else bias + border.sum((1, 2, 3)))
    if isinstance(new, BorderedConv2d):
        new.border.copy_(border)
    rewriter.replace(node, new)
    return out


def _padding(layer: nn.Conv2d) -> tuple[int, ...]:
    """Zeros on either side; ``same`` may come to some."""
    return (1,) if isinstance(layer.padding, str) else layer.padding


@torch.no_grad()
def _linear(rewriter: _Rewriter, node: fx.Node) -> Known | None:
    old, known = rewriter.module(node), rewriter.of(node)
    if len(node.meta["tensor_meta"].shape) != 2:
        return None
    out, gone = rewriter.left(node, old.out_features), known.gone
    if known.whole and out.whole:
        return out
    biased = old.bias is not None or len(gone) > 0
    new = nn.Linear(len(known.kept), len(out.kept), biased, device="meta", dtype=old.weight.dtype)
    new.to_empty(device=old.weight.device)
    weight = old.weight[out.kept]
    new.weight.copy_(weight[:, known.kept])
    if new.bias is not None:
        added = weight[:, gone].double() @ known.constant[gone]
        new.bias.copy_(added if old.bias is None else added + old.bias[out.kept].double())
    rewriter.replace(node, new)
    return out


@torch.no_grad()
def _normalisation(rewriter: _Rewriter, node: fx.Node) -> Known | None:
    old, known = rewriter.module(node), rewriter.of(node)
    if known.whole or old.running_mean is None:
        return None
    new = type(old)(len(known.kept), old.eps, old.momentum, old.affine, device=old.running_mean.device)
    for name, tensor in old.state_dict().items():
        new.state_dict()[name].copy_(tensor[known.kept] if tensor.dim() else tensor)
    constant = (known.constant - old.running_mean.double()) / (old.running_var.double() + old.eps).sqrt()
    if old.affine:
        constant = constant * old.weight.double() + old.bias.double()
    rewriter.replace(node, new)
    return known.with_constant(constant)


@torch.no_grad()
def _pointwise(rewriter: _Rewriter, node: fx.Node) -> Known:
    known = rewriter.of(node)
    function: Any = rewriter.module(node) if node.op == "call_module" else node.target
    return known.with_constant(function(known.constant.clone(), *node.args[1:], **node.kwargs))


def _unchanged(rewriter: _Rewriter, node: fx.Node) -> Known:
    """Each output is a mean or a maximum of inputs that are all the same."""
    return rewriter.of(node)


def _average(rewriter: _Rewriter, node: fx.Node) -> Known | None:
    """Zeros around the image would change the mean at its borders."""
    pool = rewriter.module(node)
    return None if pool.padding not in (0, (0, 0)) or pool.divisor_override else rewriter.of(node)


def _flatten(rewriter: _Rewriter, node: fx.Node) -> Known | None:
    """Each channel becomes as many features as it has positions."""
    start, end = (
        (rewriter.module(node).start_dim, rewriter.module(node).end_dim)
        if node.op == "call_module"
        else (*node.args[1:], *(node.kwargs.get(name, -1) for name in ("start_dim", "end_dim")[len(node.args) - 1 :]))
    )
    if (start, end) != (1, -1):
        return None
    known = rewriter.of(node)
    area = prod(node.args[0].meta["tensor_meta"].shape[2:])  # type: ignore[union-attr]
    kept = (known.kept.unsqueeze(1) * area + torch.arange(area)).flatten()
    return Known(kept, known.constant.repeat_interleave(area))


def _sum(rewriter: _Rewriter, node: fx.Node) -> Known | None:
    """A channel is computed where it is in either of the two; constants are added to it, or to one another."""
    if len(node.args) != 2 or not all(isinstance(one, fx.Node) for one in node.args):
        return None
    one, other = (rewriter.known[each] for each in node.args)  # type: ignore[index]
    if len(one.constant) != len(other.constant):
        return None
    constant = one.constant + other.constant
    if not (one.whole and other.whole):
        kept = torch.unique(torch.cat([one.kept, other.kept]))
        made = rewriter.call(node, f"sum_{node.name}", _aligned(one, other, kept), node.args)  # type: ignore[arg-type]
        node.replace_all_uses_with(made)
        rewriter.traced.graph.erase_node(node)
        rewriter.known[made] = Known(kept, constant)
        return Known(kept, constant)
    return one.with_constant(constant)


def _aligned(one: Known, other: Known, kept: Tensor) -> Sum:
    """A channel that only one of the two computes gets the other's constant."""
    offset = torch.zeros_like(one.constant)
    offset[one.gone] += one.constant[one.gone]
    offset[other.gone] += other.constant[other.gone]
    return Sum(torch.searchsorted(kept, one.kept), torch.searchsorted(kept, other.kept), offset[kept])


def _concatenation(rewriter: _Rewriter, node: fx.Node) -> Known | None:
    if (node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)) != 1:
        return None
    parts = [rewriter.known[one] for one in node.all_input_nodes]
    starts = torch.tensor([0, *(len(one.constant) for one in parts)]).cumsum(0)
    kept = torch.cat([start + one.kept for start, one in zip(starts, parts, strict=False)])
    return Known(kept, torch.cat([one.constant for one in parts]))


Rule = Callable[[_Rewriter, fx.Node], Known | None]

# how constants pass each kind of layer; one that stands in neither table gets whole tensors
MODULES: dict[type[nn.Module], Rule] = {
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.BatchNorm1d: _normalisation,
    nn.BatchNorm2d: _normalisation,
    nn.MaxPool2d: _unchanged,
    nn.AdaptiveAvgPool2d: _unchanged,
    nn.AvgPool2d: _average,
    nn.Flatten: _flatten,
    **dict.fromkeys((nn.ReLU, nn.GELU, nn.SiLU, nn.Identity, nn.Dropout), _pointwise),
}

FUNCTIONS: dict[Any, Rule] = {
    torch.cat: _concatenation,
    torch.flatten: _flatten,
    F.adaptive_avg_pool2d: _unchanged,
    F.relu: _pointwise,
    torch.relu: _pointwise,
    **dict.fromkeys((operator.add, operator.iadd, torch.add), _sum),
}
