"""Robustness: a trained network's accuracy under each perturbation of PERTURBATIONS, level by level.

All draws depend on the perturbation, the draw and the place of a sample alone: every network sees the same noise, and
a stronger level is more of the same. N samples, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from topotune.config import TrialConfig
from topotune.data.batches import Batch, derive_seed, normalise, raw_batches
from topotune.data.splits import Split, load_split
from topotune.errors import InputError
from topotune.files import Row
from topotune.followup.ahead import split_ahead
from topotune.followup.perturbations import (
    CORRUPTIONS,
    IMAGES,
    PERTURBATIONS,
    SEVERITIES,
    SOUNDS,
    Perturbation,
    check_level,
    chosen,
)
from topotune.followup.published import published
from topotune.followup.weights import changed_weights
from topotune.models.topographic import CONVOLUTIONS, topographic_layers
from topotune.training.checkpoint import load_config, load_model
from topotune.training.device import Precision, pick_device
from topotune.training.loop import evaluate
from topotune.training.memory import keep_freed_memory
from topotune.training.records import images_at_once

BLOCK = 250  # samples that are perturbed together: what is drawn for each depends on it, so it never changes
ATTACKED = 50  # images that are attacked together: so that rounding is the same, however many are evaluated at once
LEAST = 8  # pixels: the digits'
SEED = 0

OURS, PUBLISHED = "drawn", "CIFAR-10-C"  # where perturbed images come from


@dataclass(frozen=True)
class RobustnessJob:
    """One checkpoint and the perturbation to measure it under."""

    checkpoint: Path
    data: Path | None
    perturbation: str


@dataclass(frozen=True)
class Subject:
    """A network, ready on its device, with the samples that it is measured on.

    clean: its accuracy on them as they are. most: how many images go through it at once.
    """

    config: TrialConfig
    model: nn.Module
    split: Split
    precision: Precision
    most: int
    data: Path | None
    clean: float

    @property
    def kind(self) -> str:
        """Which kind of data it is for."""
        return kind_of(self.split)


def kind_of(split: Split) -> str:
    return IMAGES if split.clips is None else SOUNDS


def open_subject(checkpoint: Path, data: Path | None, part: str = "test", samples: int | None = None) -> Subject:
    """The network of a checkpoint and one part of its data set, or at most ``samples`` drawn of it, on the device.

    Raises:
        InputError: the checkpoint or the data are missing or damaged.
    """
    config, model = load_config(checkpoint), load_model(checkpoint)
    if config.threads:
        torch.set_num_threads(config.threads)
    device = pick_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    split = load_split(config.dataset, part, data)
    if samples is not None:  # drawn: a part may be in the order of its classes
        order = torch.randperm(len(split), generator=_generator("samples", part))
        split = split.take(order[:samples].sort().values)
    precision = Precision(device, config.precision == "bfloat16")
    subject = Subject(
        config, model.to(device), split.to(device), precision, images_at_once(checkpoint), data, clean=float("nan")
    )
    return replace(subject, clean=_accuracy(subject, raw_batches(subject.split, BLOCK)))


def measure_one(job: RobustnessJob) -> list[Row]:
    """The rows of robustness.csv of one checkpoint under one perturbation.

    Raises:
        InputError: the perturbation does not suit the data, or what ``open_subject`` raises.
    """
    return measure(open_subject(job.checkpoint, job.data), job.perturbation)


def measure(subject: Subject, name: str) -> list[Row]:
    """One row a level and draw; ``source`` says whether the images were drawn here or are CIFAR-10-C's own.

    Raises:
        InputError: an unknown perturbation, or one that does not suit the data.
    """
    config = subject.config
    check_suits(name, subject)
    about = {"topography": config.topography, "weight": config.weight, "seed": config.seed, "perturbation": name}
    if PERTURBATIONS[name].acts_on == "weights" and PERTURBATIONS[name].layers == "studied":
        subject = _from_studied(subject)
    rows = []
    for level, draw in settings_of(name):
        theirs = published(name, level, config.dataset, subject.split, subject.data)
        if theirs is None:
            accuracy = accuracy_under(subject, name, level, draw)
        else:
            accuracy = _accuracy(subject, raw_batches(theirs.to(subject.precision.device), BLOCK))
        rows.append(
            about
            | {"level": level, "draw": draw, "accuracy": accuracy, "clean_accuracy": subject.clean}
            | {"source": OURS if theirs is None else PUBLISHED, "config_hash": config.hash}
        )
    return rows


def _from_studied(subject: Subject) -> Subject:
    """The same accuracies under changes of the studied layers' weights, many times as fast where they are the last."""
    config, split = subject.config, subject.split
    layers = topographic_layers(config.model, subject.model, config.layers, config.loss)
    rest, model = split_ahead(
        subject.model, layers, split, lambda: _ready(subject, raw_batches(split, BLOCK)), subject.precision
    )
    return replace(subject, model=model, split=rest)


def settings_of(name: str) -> list[tuple[float, int]]:
    """The levels and draws at which a perturbation is measured: one row each."""
    entry = PERTURBATIONS[name]
    return [(level, draw) for level in entry.levels for draw in range(entry.draws)]


def check_suits(name: str, subject: Subject) -> None:
    """Whether a perturbation can be measured on these samples.

    Raises:
        InputError: it is unknown, for another kind of data, or for images of other channels or sizes.
    """
    chosen([name], subject.kind, subject.config.dataset)
    channels, *size = subject.split.entry.shape
    if PERTURBATIONS[name].corruption and (channels not in (1, 3) or min(size) < LEAST):
        raise InputError(
            f"perturbation {name!r} needs grey or RGB images of at least {LEAST}x{LEAST} pixels, but dataset "
            f"{subject.config.dataset!r} has {channels} channels of {size[0]}x{size[1]}"
        )


def accuracy_under(subject: Subject, name: str, level: float, draw: int = 0) -> float:
    """The accuracy at one level of one perturbation.

    Raises:
        InputError: an unknown perturbation, or a level that it does not have.
    """
    entry = check_level(name, level)
    batches = raw_batches(subject.split, BLOCK)
    if entry.acts_on == "weights":
        change, generator = entry.resolve(), _generator(name, draw)
        with changed_weights(_layers(subject, entry), lambda weights: change(weights, level, generator)):
            return _accuracy(subject, batches)
    if entry.acts_on == "gradients":
        return _accuracy(subject, _attacked(subject, batches, name, level, draw))
    return _accuracy(subject, perturbed(batches, name, level, draw))


def corruption_accuracy(checkpoint: Path, data: Path | None, part: str = "validation", samples: int = 250) -> float:
    """The mean accuracy over the 15 corruptions of CIFAR-10-C and their 5 severities, on at most ``samples`` images.

    The images are the same for every network of a data set. They go through the network 76 times: as much work as
    evaluating it on 19,000 images.

    Args:
        checkpoint: a folder with config.json and model.safetensors.
        data: the folder of the data sets.
        part: train, validation or test; a search must not look at the last.
        samples: how many of its images, drawn once for all.

    Raises:
        InputError: the checkpoint or the data are missing or damaged, or the data are no images.
    """
    subject = open_subject(checkpoint, data, part, samples)
    for name in CORRUPTIONS:
        check_suits(name, subject)
    every = [accuracy_under(subject, name, severity) for name in CORRUPTIONS for severity in SEVERITIES]
    return sum(every) / len(every)


def perturbed(batches: Iterator[Batch], name: str, level: float, draw: int = 0) -> Iterator[Batch]:
    """Batches of ``raw_batches(split, BLOCK)`` with other images: float32, in [0, 1] or dB."""
    function = check_level(name, level).resolve()
    for number, batch in enumerate(batches):
        images = function(_floats(batch.images), level, _generator(name, draw, number))
        yield replace(batch, images=images)


def _attacked(subject: Subject, batches: Iterator[Batch], name: str, level: float, draw: int) -> Iterator[Batch]:
    attack, entry = PERTURBATIONS[name].resolve(), subject.split.entry

    def logits(images: Tensor) -> Tensor:
        with subject.precision.autocast():
            found: Tensor = subject.model(subject.precision.images(normalise(images, entry)))
        return found

    subject.model.eval()
    for number, batch in enumerate(batches):
        generator = _generator(name, draw, number)
        pieces = zip(torch.split(_floats(batch.images), ATTACKED), torch.split(batch.labels, ATTACKED), strict=True)
        images = [attack(logits, images, labels, level, generator) for images, labels in pieces]
        yield replace(batch, images=torch.cat(images))


def _accuracy(subject: Subject, batches: Iterator[Batch]) -> float:
    return evaluate(subject.model, _ready(subject, batches), subject.precision).accuracy


def _ready(subject: Subject, batches: Iterator[Batch]) -> Iterator[Batch]:
    """Normalised, and no more images at once than fit; a clip's windows stay together."""
    for batch in batches:
        whole = replace(batch, images=normalise(batch.images, subject.split.entry))
        if batch.owner is not None or len(batch.labels) <= subject.most:
            yield whole
        else:
            pieces = zip(torch.split(whole.images, subject.most), torch.split(whole.labels, subject.most), strict=True)
            yield from (Batch(images, labels) for images, labels in pieces)


def _floats(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _generator(name: str, *parts: object) -> Generator:
    return Generator().manual_seed(derive_seed(SEED, name, *parts))


def _layers(subject: Subject, entry: Perturbation) -> list[nn.Module]:
    config = subject.config
    if entry.layers == "all":
        return [one for one in subject.model.modules() if isinstance(one, (*CONVOLUTIONS, nn.Linear))]
    return list(topographic_layers(config.model, subject.model, config.layers, config.loss).values())
