"""Structural pruning by torch-pruning, to compare with: coupled channels go everywhere, and the function changes.

A channel of a residual stream goes from every layer that writes or reads it, and what it carried is lost: batch
normalisation's constants too. More is saved than by a compact network of the same proportion, whose outputs stay.
"""

import copy
from collections.abc import Sequence

import torch_pruning
from torch import Tensor, nn


def prune_coupled(model: nn.Module, layers: Sequence[str], proportion: float, images: Tensor) -> nn.Module:
    """A copy of ``model`` without the proportion of these layers' channels that have the least group L2 norm.

    The norm is the mean over all layers that a channel couples (Fang et al. 2023, arXiv 2301.12900, section 3.3).
    A layer keeps one channel at least. ``images``: an example (N, C, H, W).
    """
    network = copy.deepcopy(model).eval()
    wanted = {network.get_submodule(name): proportion for name in layers}
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1:]  # the classes stay
    pruner = torch_pruning.pruner.BasePruner(
        network, images.to(next(model.parameters()).device),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2, group_reduction="mean"),
        pruning_ratio=0.0, pruning_ratio_dict=wanted, ignored_layers=last,
    )  # fmt: skip
    pruner.step()
    return network
