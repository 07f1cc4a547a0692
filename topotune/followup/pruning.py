"""Pruning (Poli et al. 2022, section 3.4): a proportion of the channels of every topographic layer set to zero."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from topotune.data.batches import evaluation_batches
from topotune.data.splits import load_split
from topotune.errors import InputError
from topotune.files import Row
from topotune.models.topographic import topographic_layers
from topotune.training.checkpoint import load_config, load_model
from topotune.training.device import Precision, pick_device
from topotune.training.loop import evaluate
from topotune.training.records import images_at_once


@dataclass(frozen=True)
class PruneJob:
    """One checkpoint and the proportions to prune it by."""

    checkpoint: Path
    data: Path | None
    proportions: tuple[float, ...]


def prune_one(job: PruneJob) -> list[Row]:
    """Test accuracy at every proportion: rows of pruning.csv."""
    config, model = load_config(job.checkpoint), load_model(job.checkpoint)
    if config.threads:
        torch.set_num_threads(config.threads)
    device = pick_device(config.device)
    precision = Precision(device, config.precision == "bfloat16")
    split = load_split(config.dataset, "test", job.data)
    there = split.to(device)
    layers = topographic_layers(config.model, model.to(device), config.layers, config.loss).values()
    rows, many = [], images_at_once(job.checkpoint)
    for proportion in job.proportions:
        with pruned(layers, proportion):
            accuracy = evaluate(model, evaluation_batches(there, many), precision).accuracy
        rows.append(
            {
                "topography": config.topography,
                "weight": config.weight,
                "seed": config.seed,
                "proportion": proportion,
                "accuracy": accuracy,
                "config_hash": config.hash,
            }
        )
    return rows


@contextmanager
def pruned(layers: Iterable[nn.Module], proportion: float) -> Iterator[None]:
    """Within it, the ``proportion`` of each layer's output channels with the least L2 norm are zero, bias too.

    The number of channels is proportion · C, rounded as torch's own pruning does. Afterwards the weights are as before.

    Raises:
        InputError: the proportion is not within 0 … 1.
    """
    if not 0 <= proportion <= 1:
        raise InputError(f"proportion {proportion!r} is out of range; it must be from 0 to 1")
    kept: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        for layer in layers:
            weakest = weakest_channels(layer, proportion)
            for tensor in (layer.weight, layer.bias):
                if isinstance(tensor, Tensor):
                    kept.append((tensor, tensor.clone()))
                    tensor[weakest] = 0
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)


def weakest_channels(layer: nn.Module, proportion: float) -> Tensor:
    """Indices of the proportion · C (rounded) output channels whose weights (C, …) have the least L2 norm."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    norms: Tensor = weight.detach().flatten(1).double().norm(dim=1)
    return norms.argsort(stable=True)[: round(proportion * len(norms))]
