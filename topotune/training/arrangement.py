"""Positions that a trial hands out itself: learned by swaps while it trains, or assigned when it is done.

What was done is kept in ``arrangement.json``: for each round and layer the epochs done by then, the loss before and
after, how many channels moved, and the position of every channel.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from topotune.config import NONE, TrialConfig
from topotune.data.batches import derive_seed, evaluation_batches
from topotune.data.splits import Split
from topotune.files import read_table, write_json
from topotune.models.topographic import build_model, topographic_layers
from topotune.topography import arrangement_of
from topotune.training import ARRANGEMENT
from topotune.training.device import Precision
from topotune.training.distributed import from_first
from topotune.training.records import read_result
from topotune.training.topography import Topography

PROBE = 256  # training images that are held out for the swaps, but no more than
SHARE = 20  # one in so many


def topography_of(config: TrialConfig, model: nn.Module) -> Topography:
    """The topographic loss that a trial's settings describe, on its model.

    Raises:
        InputError: the settings name no layer of the model.
    """
    organisation, _ = arrangement_of(config.topography)
    layers = topographic_layers(config.model, model, config.layers, config.loss)
    return Topography(
        model, organisation, loss=config.loss, weight=config.weight, layers=list(layers), distance=config.distance,
        layer_reduction=config.layer_reduction, **config.organisation_options,
    )  # fmt: skip


def check_layers(config: TrialConfig) -> None:
    """Whether the network has the layers that the settings name, without building it: those of the topography, and of
    the control those that are pruned.

    Raises:
        InputError: a name or pattern that matches no layer, or one that the loss cannot be taken of.
    """
    with torch.device("meta"):
        network = build_model(config.model, 1, 2)
    if config.topography == NONE:
        topographic_layers(config.model, network, config.layers, config.loss)
    else:
        topography_of(config, network)


def hold_out(split: Split, seed: int) -> tuple[Split, Split]:
    """Training images to train on, and some held out to judge positions by; which ones depends on ``seed``."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(derive_seed(seed, "probe")))
    size = min(PROBE, max(len(split) // SHARE, 1))
    return split.take(order[size:].sort().values), split.take(order[:size].sort().values)


class Arranger:
    """Hands out positions, and remembers what came of it."""

    def __init__(self, config: TrialConfig, topography: Topography, probe: Split) -> None:
        self._config, self._topography = config, topography
        self._images = torch.cat([batch.images for batch in evaluation_batches(probe)])
        self.rounds: list[dict[str, Any]] = []

    def due(self, epoch: int) -> bool:
        """Whether channels swap positions before this epoch, counted from 0."""
        return self._config.arrangement == "learned" and epoch % self._config.swap_every == 0

    @torch.no_grad()
    def arrange(self, model: nn.Module, precision: Precision, epoch: int) -> None:
        """One round after ``epoch`` epochs, the same on every rank."""
        training = model.training
        model.eval()
        if self._topography.entry.reads == "outputs":
            with self._topography, precision.autocast():
                model(precision.images(self._images))
        model.train(training)
        done = self._topography.rearrange(anew=self._config.arrangement == "assigned")
        done = from_first(lambda: done)
        self._take_up(done)
        self.rounds += [{"epoch": epoch, **one} for one in done]

    def resume(self, rounds: list[dict[str, Any]]) -> None:
        """Take up positions as the rounds left them."""
        self.rounds = rounds
        self._take_up(rounds)

    def _take_up(self, rounds: list[dict[str, Any]]) -> None:
        for layer, permutation in _last(rounds).items():
            self._topography.arrange(layer, permutation)

    def save(self, folder: Path) -> None:
        """Write ``arrangement.json``."""
        write_json(folder / ARRANGEMENT, {"topography": self._config.topography, "rounds": self.rounds})


def kept_permutations(folder: Path, config: TrialConfig) -> dict[str, Tensor]:
    """The position (C,) of each channel of the network that was kept, layer by layer; empty where none was handed out.

    The weights are those of the best epoch. Positions that are learned are those of the last round before its end;
    assigned ones were found for these very weights.
    """
    path = folder / ARRANGEMENT
    if not path.exists():
        return {}
    rounds, result = read_table(path)["rounds"], read_result(folder)
    if config.arrangement == "learned" and result is not None:
        rounds = [one for one in rounds if one["epoch"] < result.best_epoch]
    return _last(rounds)


def _last(rounds: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {one["layer"]: torch.tensor(one["permutation"]) for one in rounds}
