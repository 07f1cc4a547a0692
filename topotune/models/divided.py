"""A network in two: what comes before its first layer of some, and the rest."""

from collections.abc import Collection

import torch
from torch import Tensor, fx, nn


def divide(model: nn.Module, layers: Collection[str], image: Tensor) -> tuple[nn.Module, nn.Module] | None:
    """The largest head that none of the layers is in and that hands on one tensor only, and the tail; None: no head.

    Both share ``model``'s layers, by their names. What is handed on is laid as images are: (N, C, H, W), or
    (N, F, 1, 1) where it is (N, F).

    Args:
        model: a network that torch.fx can trace, in evaluation mode.
        layers: names.
        image: (1, C, H, W).
    """
    traced = fx.symbolic_trace(model)
    nodes = [node for node in traced.graph.nodes if node.op != "output"]
    place = {node: index for index, node in enumerate(nodes)}
    first = min(place[node] for node in nodes if node.op == "call_module" and node.target in layers)
    last = {node: max((place.get(user, len(nodes)) for user in node.users), default=-1) for node in nodes}
    cuts = [at for at in range(1, first) if not any(last[node] > at for node in nodes[:at])]
    if not cuts or nodes[0].op != "placeholder":
        return None
    end = nodes[cuts[-1]]
    head = _part(traced, nodes[1 : cuts[-1] + 1], nodes[0], end)
    with torch.no_grad():
        dimensions = head(image).dim()
    if dimensions not in (2, 4):
        return None
    (output,) = (node for node in traced.graph.nodes if node.op == "output")
    tail = _part(traced, nodes[cuts[-1] + 1 :], end, output.args[0], flat=dimensions == 2)
    return (nn.Sequential(head, _Image()) if dimensions == 2 else head), tail


def _part(traced: fx.GraphModule, nodes: list[fx.Node], start: fx.Node, end: fx.Node, flat: bool = False) -> nn.Module:
    """The nodes as a network of their own, from the output of ``start`` to that of ``end``."""
    graph = fx.Graph()
    images = graph.placeholder("images")
    own = {start: graph.call_function(torch.flatten, (images, 1)) if flat else images}
    for node in nodes:
        own[node] = graph.node_copy(node, own.__getitem__)
    graph.output(own[end])
    return fx.GraphModule(traced, graph).eval()


class _Image(nn.Module):
    """(N, F) -> (N, F, 1, 1)."""

    def forward(self, features: Tensor) -> Tensor:
        return features[:, :, None, None]
