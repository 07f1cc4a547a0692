"""Robustness: a trained network's accuracy under each perturbation of PERTURBATIONS, level by level: of a checkpoint,
the rows of robustness.csv; of any network, a curve."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from topotune.config import TrialConfig
from topotune.data import DatasetEntry
from topotune.data.splits import Split, load_split
from topotune.errors import InputError, unknown
from topotune.files import Row
from topotune.followup.perturbations import CORRUPTIONS, PERTURBATIONS, SEVERITIES, check_level
from topotune.followup.published import published
from topotune.followup.tested import Tested, accuracy_under, check_suits, clean_accuracy, drawn, from_studied
from topotune.models.topographic import select_layers, topographic_layers
from topotune.training.checkpoint import check_data, load_config, load_model
from topotune.training.device import Precision, pick_device
from topotune.training.memory import EVALUATED, keep_freed_memory
from topotune.training.records import images_at_once

OURS, PUBLISHED = "drawn", "CIFAR-10-C"  # where perturbed images come from
GIVEN = "given here"  # what errors call samples that come without a name

Setting = tuple[float, int]  # a level, and the number of a draw at it


@dataclass(frozen=True)
class RobustnessJob:
    """One checkpoint and the perturbation to measure it under."""

    checkpoint: Path
    data: Path | None
    perturbation: str


@dataclass(frozen=True)
class Subject:
    """A checkpoint that is measured: its settings, its network with the samples, its accuracy on them as they are."""

    config: TrialConfig
    tested: Tested
    data: Path | None
    clean: float


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
    check_data(checkpoint, config.dataset, split.entry)
    if samples is not None:
        split = drawn(split, part, samples)
    layers = topographic_layers(config.model, model, config.layers, config.loss)
    precision = Precision(device, config.precision == "bfloat16")
    most = images_at_once(checkpoint)
    tested = Tested(model.to(device), layers, split.to(device), config.dataset, precision, most)
    return Subject(config, tested, data, clean_accuracy(tested))


def measure_one(job: RobustnessJob) -> list[Row]:
    """The rows of robustness.csv of one checkpoint under one perturbation.

    Raises:
        InputError: the perturbation does not suit the data, or what ``open_subject`` raises.
    """
    return list(measure(open_subject(job.checkpoint, job.data), job.perturbation))


def measure(subject: Subject, name: str, done: Collection[Setting] = ()) -> Iterator[Row]:
    """One row a level and draw, without those that are ``done``; ``source`` says whether the images were drawn here or
    are CIFAR-10-C's own.

    Raises:
        InputError: an unknown perturbation, or one that does not suit the data.
    """
    config = subject.config
    check_suits(name, subject.tested)
    about = {"topography": config.topography, "weight": config.weight, "seed": config.seed, "perturbation": name}
    if PERTURBATIONS[name].acts_on == "weights" and PERTURBATIONS[name].layers == "studied":
        subject = replace(subject, tested=from_studied(subject.tested))
    for level, draw in (one for one in settings_of(name) if one not in done):
        accuracy, source = _accuracy(subject, name, level, draw)
        yield (
            about
            | {"level": level, "draw": draw, "accuracy": accuracy, "clean_accuracy": subject.clean}
            | {"source": source, "config_hash": config.hash}
        )


def _accuracy(subject: Subject, name: str, level: float, draw: int) -> tuple[float, str]:
    """And where the images come from."""
    tested = subject.tested
    theirs = published(name, level, tested.dataset, tested.split, subject.data)
    if theirs is None:
        return accuracy_under(tested, name, level, draw), OURS
    return clean_accuracy(replace(tested, split=theirs.to(tested.precision.device))), PUBLISHED


def settings_of(name: str) -> list[Setting]:
    """The levels and draws at which a perturbation is measured: one row each."""
    entry = PERTURBATIONS[name]
    return [(level, draw) for level in entry.levels for draw in range(entry.draws)]


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
    tested = open_subject(checkpoint, data, part, samples).tested
    for name in CORRUPTIONS:
        check_suits(name, tested)
    every = [accuracy_under(tested, name, severity) for name in CORRUPTIONS for severity in SEVERITIES]
    return sum(every) / len(every)


def robustness_curve(
    model: nn.Module,
    perturbation: str,
    samples: Split | tuple[Tensor, Tensor],
    *,
    levels: Sequence[float] = (),
    layers: Sequence[str] | str = (),
) -> dict[float, float]:
    """Accuracy at each level of a perturbation, the mean of its draws.

        test = topotune.load_split("digits", "test")
        topotune.robustness_curve(model, "white", test)    # {0.01: 0.983, 0.05: 0.981, ...}

    Every network is shown the same noise. The model stays as it is, on its device.

    Args:
        model: any network; images (N, C, H, W) -> logits (N, K).
        perturbation: a key of PERTURBATIONS.
        samples: of ``load_split``, which are normalised for the network as in its training; or images (N, C, H, W),
            uint8 or in [0, 1], and labels (N,), for a network that takes images in [0, 1].
        levels: in place of the usual ones.
        layers: names and patterns (``layer4.*.conv2``) of those whose weights ``weight`` perturbs; all convolutions
            where left out.

    Raises:
        InputError: an unknown perturbation or layer, a level out of range, or samples that do not suit.
    """
    if perturbation not in PERTURBATIONS:
        raise unknown("perturbation", perturbation, PERTURBATIONS)
    entry = PERTURBATIONS[perturbation]
    wanted = tuple(levels) or entry.levels
    for level in wanted:
        check_level(perturbation, level)
    studied = {}
    if entry.acts_on == "weights" and entry.layers == "studied":
        studied = select_layers(model, [layers] if isinstance(layers, str) else layers)
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    split = (samples if isinstance(samples, Split) else _as_split(*samples)).to(device)
    tested = Tested(model, studied, split, GIVEN, Precision(device, bfloat16=False), EVALUATED)
    check_suits(perturbation, tested)
    modes = [(module, module.training) for module in model.modules()]
    try:
        return {level: _mean_accuracy(tested, perturbation, level) for level in wanted}
    finally:
        for module, mode in modes:
            module.training = mode


def _mean_accuracy(tested: Tested, name: str, level: float) -> float:
    every = [accuracy_under(tested, name, level, draw) for draw in range(PERTURBATIONS[name].draws)]
    return sum(every) / len(every)


def _as_split(images: Tensor, labels: Tensor) -> Split:
    """Samples that are not normalised."""
    if images.dim() != 4 or labels.shape != images.shape[:1]:
        raise InputError(
            f"images {tuple(images.shape)} and labels {tuple(labels.shape)}: must be (N, C, H, W) and (N,)"
        )
    if images.dtype != torch.uint8 and not (images.amin() >= 0 and images.amax() <= 1):
        raise InputError(
            f"images from {images.amin():g} to {images.amax():g}: must be uint8, or floats from 0 to 1; what "
            "normalises them is part of the network, as in torch.nn.Sequential(normalise, network)"
        )
    channels, height, width = images.shape[1:]
    entry = DatasetEntry(
        reader="", classes=0, shape=(channels, height, width), train=0, validation=0, test=len(labels),
        mean=(0.0,) * channels, std=(1.0,) * channels,
    )  # fmt: skip
    return Split(images, labels, "", entry)
