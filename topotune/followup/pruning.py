"""Pruning (Poli et al. 2022, section 3.4): a proportion of the channels of every topographic layer set to zero."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from topotune.config import NONE, TrialConfig
from topotune.data.batches import evaluation_batches
from topotune.data.splits import Split, load_split
from topotune.errors import InputError, unknown
from topotune.files import Row
from topotune.followup.criteria import CRITERIA, Channels
from topotune.followup.finetune import Finetuning, finetune
from topotune.followup.masked import Masked, tensors_of, zero
from topotune.models.topographic import select_layers, topographic_layers
from topotune.topography import arrangement_of
from topotune.topography.positions import positions
from topotune.training.arrangement import kept_permutations
from topotune.training.checkpoint import check_data, load_config, load_model, read_header
from topotune.training.device import LAYOUT, Precision, pick_device
from topotune.training.loop import evaluate
from topotune.training.memory import keep_freed_memory, micro_batches
from topotune.training.records import images_at_once

SCOPES = ("topographic", "all")  # the topographic layers, as in the paper, or all convolutions
UNPLACED = "grid2d"  # where the channels of a control would sit: a criterion may ask
PROPORTIONS = tuple(step / 10 for step in range(11))

Order = Mapping[str, Tensor]  # layer -> its channels (C,), the one that goes first at the front


@dataclass(frozen=True)
class Cut:
    """One way to prune, and one row of pruning.csv: how much, by which criterion, in which layers, and what then."""

    proportion: float
    criterion: str = "l2"
    scope: str = SCOPES[0]
    finetune_epochs: int = 0

    @classmethod
    def of(cls, row: Row) -> Self:
        """The way in which a row of pruning.csv was pruned."""
        return cls(float(row["proportion"]), row["criterion"], row["scope"], row["finetune_epochs"])


def cuts_of(options: Mapping[str, Any]) -> list[Cut]:
    """The ways of pruning that a study's [prune] asks for, in the order of pruning.csv."""
    plain, tuned = (sorted(map(float, options[f"{which}proportions"])) for which in ("", "finetune_"))
    criterion, scope, epochs = options["criterion"], options["scope"], options["finetune_epochs"]
    cuts = []
    for one in criterion if isinstance(criterion, list) else [criterion]:
        cuts += [Cut(proportion, one, scope) for proportion in plain]
        cuts += [Cut(proportion, one, scope, epochs) for proportion in tuned if epochs]
    return cuts


@dataclass(frozen=True)
class PruneJob:
    """One checkpoint and what shall be tried on it."""

    checkpoint: Path
    data: Path | None
    cuts: tuple[Cut, ...]


def prune_channels(
    model: nn.Module,
    proportion: float,
    *,
    criterion: str = "l2",
    layers: Sequence[str] | str = (),
    organisation: str = UNPLACED,
    seed: int = 0,
) -> dict[str, list[int]]:
    """Set the weights and biases of a proportion of each layer's output channels to zero, in place.

        model = topotune.load_checkpoint("studies/digits/best")
        gone = topotune.prune_channels(model, 0.5, layers=["conv1", "conv2"])

    Args:
        model: any network.
        proportion: of the C channels of each layer, from 0 to 1; the number is rounded as torch's own pruning does.
        criterion: a key of CRITERIA: ``l2`` (Poli et al. 2022, section 3.4), ``l1``, ``random``, ``neighbour``.
        layers: names and patterns (``layer4.*.conv2``) of convolutions and linear layers; all convolutions where
            left out.
        organisation: where channels sit, a key of POSITIONS; ``neighbour`` reads it.
        seed: of ``random``.

    Returns:
        the channels that are zero now, layer by layer, in ascending order.

    Raises:
        InputError: an unknown name, a pattern that matches no layer, a proportion out of range.
    """
    chosen = select_layers(model, [layers] if isinstance(layers, str) else layers)
    order = order_channels(chosen, criterion, seed, lambda _name, channels: positions(organisation, channels))
    gone = first_of(order, proportion)
    zero(chosen, gone)
    return gone


def order_channels(layers: Mapping[str, nn.Module], criterion: str, seed: int, places: Any) -> dict[str, Tensor]:
    """In which order the channels of each layer go; ``places``: (name, C) -> positions (C, D).

    Raises:
        InputError: the criterion is unknown.
    """
    if criterion not in CRITERIA:
        raise unknown("criterion", criterion, CRITERIA)
    found = {}
    for name, layer in layers.items():
        weights = tensors_of(layer)[0]
        found[name] = CRITERIA[criterion](Channels(name, weights, places(name, len(weights)), seed))
    return found


def first_of(order: Order, proportion: float) -> dict[str, list[int]]:
    """The round(proportion · C) channels of each layer that go first, in ascending order.

    Raises:
        InputError: the proportion is not within 0 … 1.
    """
    if not 0 <= proportion <= 1:
        raise InputError(f"proportion {proportion!r} is out of range; it must be from 0 to 1")
    return {name: sorted(own[: round(proportion * len(own))].tolist()) for name, own in order.items()}


@dataclass
class Subject:
    """A checkpoint that is pruned: read once, on its device, each order of channels found once."""

    checkpoint: Path
    data: Path | None = None
    orders: dict[tuple[str, str], dict[str, Tensor]] = field(default_factory=dict)

    @cached_property
    def config(self) -> TrialConfig:
        return load_config(self.checkpoint)

    @cached_property
    def precision(self) -> Precision:
        return Precision(pick_device(self.config.device), self.config.precision == "bfloat16")

    @cached_property
    def model(self) -> nn.Module:
        """The network itself; not a compact one, of which some channels are no filters any more."""
        if "compact" in read_header(self.checkpoint):
            raise InputError(f"{self.checkpoint} is compact already; give the checkpoint that it was made of")
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        if self.precision.device.type == "cpu":
            keep_freed_memory()
        return load_model(self.checkpoint).to(self.precision.device, memory_format=LAYOUT)  # type: ignore[call-overload,no-any-return]

    def split(self, part: str) -> Split:
        """One part of its data, on the device.

        Raises:
            InputError: the data are missing or damaged, or for another network.
        """
        split = load_split(self.config.dataset, part, self.data)
        check_data(self.checkpoint, self.config.dataset, split.entry)
        return split.to(self.precision.device)

    def layers(self, scope: str = SCOPES[0]) -> dict[str, nn.Module]:
        """The layers that are pruned, by their names; the same for a control as for a topography."""
        if scope not in SCOPES:
            raise unknown("scope", scope, SCOPES)
        if scope == "all":
            return select_layers(self.model)
        return topographic_layers(self.config.model, self.model, self.config.layers, self.config.loss)

    def channels(self, cut: Cut) -> dict[str, list[int]]:
        """Which channels a cut sets to zero."""
        key = cut.criterion, cut.scope
        if key not in self.orders:
            self.orders[key] = order_channels(self.layers(cut.scope), cut.criterion, self.config.seed, self._places)
        return first_of(self.orders[key], cut.proportion)

    def masked(self, scope: str, split: Split) -> Masked:
        """To be cut in several ways, and tested on a split that is on the device."""
        return Masked(self.model, self.layers(scope), split, self.precision, images_at_once(self.checkpoint))

    def accuracy(self, split: Split) -> float:
        """On a split that is on the device."""
        return evaluate(self.model, evaluation_batches(split, images_at_once(self.checkpoint)), self.precision).accuracy

    def _places(self, name: str, channels: int) -> Tensor:
        """Where the trial had a layer's channels; a control's would sit on a grid."""
        organisation, _ = arrangement_of(UNPLACED if self.config.topography == NONE else self.config.topography)
        options = {} if self.config.topography == NONE else self.config.organisation_options
        own = kept_permutations(self.checkpoint, self.config).get(name)
        places = positions(organisation, channels, **options)
        return places if own is None else places[own]


def prune_one(job: PruneJob) -> list[Row]:
    """Test accuracy after every cut: rows of pruning.csv."""
    return list(pruned_rows(job))


def pruned_rows(job: PruneJob) -> Iterator[Row]:
    """The same, one after the other. Cuts that leave the same channels are tested once."""
    subject = Subject(job.checkpoint, job.data)
    config, test, found = subject.config, subject.split("test"), {}
    masked = {scope: subject.masked(scope, test) for scope in {cut.scope for cut in job.cuts}}
    for cut in job.cuts:
        gone = subject.channels(cut)
        key = cut.finetune_epochs, *((name, tuple(own)) for name, own in gone.items() if own)
        if key not in found:
            plain = masked[cut.scope]
            found[key] = _finetuned(subject, cut, test) if cut.finetune_epochs else plain.accuracy(gone)
        told = {"topography": config.topography, "weight": config.weight, "seed": config.seed}
        told |= {"criterion": cut.criterion, "scope": cut.scope, "proportion": cut.proportion}
        yield told | {"finetune_epochs": cut.finetune_epochs, "accuracy": found[key], "config_hash": config.hash}


def _finetuned(subject: Subject, cut: Cut, split: Split) -> float:
    """Accuracy after training on; then the network is as before."""
    config, precision = subject.config, subject.precision
    micro = micro_batches(subject.checkpoint, config.accumulate)
    plan = Finetuning(config, subject.split("train"), precision, cut.finetune_epochs, micro)
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    hold = partial(zero, subject.layers(cut.scope), subject.channels(cut))
    try:
        hold()
        finetune(subject.model, plan, hold)
        return subject.accuracy(split)
    finally:
        subject.model.load_state_dict(before)


def pruned_accuracy(
    checkpoint: Path,
    data: Path | None = None,
    part: str = "validation",
    proportions: Sequence[float] = PROPORTIONS,
    criterion: str = "l2",
) -> float:
    """Mean accuracy over pruned proportions of a checkpoint's topographic layers: one number for a whole curve.

    Args:
        checkpoint: a folder with ``config.json`` and ``model.safetensors``.
        data: the folder of the data sets, where the trial's is not embedded.
        part: validation or test.
        proportions: from 0 to 1.
        criterion: a key of CRITERIA.

    Raises:
        InputError: no checkpoint, no data, an unknown name, no proportion or one out of range.
    """
    if not proportions:
        raise InputError("no proportion to prune by: give at least one, from 0 to 1")
    subject = Subject(checkpoint, data)
    masked = subject.masked(SCOPES[0], subject.split(part))
    accuracies = [masked.accuracy(subject.channels(Cut(proportion, criterion))) for proportion in proportions]
    return sum(accuracies) / len(accuracies)
