"""What a trained network is tried with: noise, corruptions, attacks, and changes of its weights. Imports no torch, so
that a wrong name is found at once.

Sources: input noise as the code of Truong & Hasson (arXiv 2508.00043); the 15 corruptions as Hendrycks & Dietterich
(2019) made CIFAR-10-C; FGSM of Goodfellow et al. (2015); PGD-20 of Madry et al. (2018). The perturbation of weights,
their quantisation and all that is done to sounds are our own definitions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from topotune.errors import InputError, unknown

IMAGES, SOUNDS = "images", "sounds"
SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Perturbation:
    """One way to try a network, at several levels.

    function: path of a function; what it takes depends on ``acts_on``.
    acts_on: ``pixels``: (images (N, C, H, W) float32 in [0, 1], level, generator) -> the same, changed;
        ``spectrograms``: likewise with windows (N, 1, M, W) in dB;
        ``gradients``: (logits, images, labels, level, generator) -> images, where ``logits`` maps images in [0, 1] to
        the network's logits (N, K), with gradients;
        ``weights``: (weights (C, …), level, generator) -> the same, changed.
    levels: at which it is measured, in this order.
    bounds: the least and the greatest level that mean anything.
    unit: what a level is.
    draws: how often it is drawn anew at each level.
    layers: of ``weights``: ``studied``, the topographic layers, or ``all`` convolutions and linear layers.
    corruption: whether it is one of the 15 of CIFAR-10-C, whose levels are whole numbers.
    """

    function: str
    acts_on: str
    levels: tuple[float, ...]
    bounds: tuple[float, float]
    unit: str
    draws: int = 1
    layers: str = "studied"
    corruption: bool = False

    @property
    def suits(self) -> tuple[str, ...]:
        """The kinds of data that it can be measured on."""
        if self.acts_on == "weights":
            return (IMAGES, SOUNDS)
        return (SOUNDS,) if self.acts_on == "spectrograms" else (IMAGES,)

    def resolve(self) -> Callable[..., Any]:
        """The function itself."""
        found: Callable[..., Any] = resolve_name(self.function)
        return found


def _noise(name: str) -> Perturbation:
    share = "deviation" if name != "salt_and_pepper" else "share of the pixels"
    return Perturbation(
        f"topotune.followup.noise:{name}", "pixels", (0.01, 0.05, 0.1, 0.15, 0.2), (0.0, 1.0), f"noise, {share}"
    )


def _corruption(module: str, name: str) -> Perturbation:
    path = f"topotune.followup.{module}:{name}"
    return Perturbation(path, "pixels", SEVERITIES, (1, 5), "severity", corruption=True)


def _attack(name: str) -> Perturbation:
    # in 255ths, as images are stored: small enough to tell models apart
    path = f"topotune.followup.adversarial:{name}"
    return Perturbation(path, "gradients", (0.25, 0.5, 1, 2, 4, 8), (0.0, 255.0), "ε, 255ths of the pixels' range")


def _sound(name: str, levels: tuple[float, ...], bounds: tuple[float, float], unit: str) -> Perturbation:
    return Perturbation(f"topotune.followup.audio:{name}", "spectrograms", levels, bounds, unit)


PERTURBATIONS: dict[str, Perturbation] = {
    "weight": Perturbation(
        "topotune.followup.weights:multiply", "weights", tuple(step / 10 for step in range(11)), (0.0, 1.0),
        "deviation of the factor", draws=10,
    ),
    "quantisation": Perturbation(
        "topotune.followup.weights:quantise", "weights", (8, 6, 4), (2, 16), "bits", layers="all"
    ),
    "white": _noise("white"),
    "pink": _noise("pink"),
    "salt_and_pepper": _noise("salt_and_pepper"),
    "gaussian_noise": _corruption("noise", "gaussian_noise"),
    "shot_noise": _corruption("noise", "shot_noise"),
    "impulse_noise": _corruption("noise", "impulse_noise"),
    "defocus_blur": _corruption("blur", "defocus_blur"),
    "glass_blur": _corruption("blur", "glass_blur"),
    "motion_blur": _corruption("blur", "motion_blur"),
    "zoom_blur": _corruption("blur", "zoom_blur"),
    "snow": _corruption("weather", "snow"),
    "frost": _corruption("weather", "frost"),
    "fog": _corruption("weather", "fog"),
    "brightness": _corruption("weather", "brightness"),
    "contrast": _corruption("digital", "contrast"),
    "elastic_transform": _corruption("digital", "elastic_transform"),
    "pixelate": _corruption("digital", "pixelate"),
    "jpeg_compression": _corruption("digital", "jpeg_compression"),
    "fgsm": _attack("fgsm"),
    "pgd": _attack("pgd"),
    "sound_noise": _sound("sound_noise", (20, 15, 10, 5, 0), (-20.0, 60.0), "signal to noise, dB"),
    "time_mask": _sound("time_mask", (0.1, 0.2, 0.3, 0.4, 0.5), (0.0, 1.0), "share of the frames"),
    "frequency_mask": _sound("frequency_mask", (0.1, 0.2, 0.3, 0.4, 0.5), (0.0, 1.0), "share of the mel bands"),
    "speed": _sound("speed", (0.7, 0.8, 0.9, 1.1, 1.2, 1.3), (0.5, 2.0), "factor"),
}  # fmt: skip

ALL = "all"  # that suit the data

CORRUPTIONS = tuple(name for name, one in PERTURBATIONS.items() if one.corruption)

# where nothing is asked for: minutes, not hours
USUAL = {
    IMAGES: ("weight", "white", "pink", "salt_and_pepper"),
    SOUNDS: ("weight", "sound_noise", "time_mask", "frequency_mask"),
}


def named(text: str) -> list[str]:
    """The names in ``a,b``, as the command line takes them.

    Raises:
        InputError: a name is unknown or stands there twice.
    """
    names = [one.strip() for one in text.split(",")]
    check_asked(names, "--perturbations")
    return names


def check_asked(names: Sequence[str], where: str = "[robustness] perturbations") -> None:
    """Whether these are perturbations, each once, or ``all`` alone.

    Raises:
        InputError: a name is unknown or stands there twice.
    """
    for name in names:
        if name not in PERTURBATIONS and list(names) != [ALL]:
            raise unknown("perturbation", name, (ALL, *PERTURBATIONS), where)
        if list(names).count(name) > 1:
            raise InputError(f"{where}: {name!r} stands there twice")


def chosen(names: Sequence[str], kind: str, dataset: str) -> tuple[str, ...]:
    """The perturbations to measure on data of one kind; none means the usual ones, ``all`` those that suit the data.

    Raises:
        InputError: a name is unknown, or does not suit the data.
    """
    suitable = tuple(name for name, one in PERTURBATIONS.items() if kind in one.suits)
    if list(names) == [ALL]:
        return suitable
    check_asked(names)
    for name in names:
        if name not in suitable:
            raise InputError(
                f"perturbation {name!r} is for {' and '.join(PERTURBATIONS[name].suits)}, and dataset {dataset!r} "
                f"holds {kind}; choose from {', '.join(suitable)}"
            )
    return tuple(names) or USUAL[kind]


def check_level(name: str, level: float) -> Perturbation:
    """The perturbation of that name, if it has such a level.

    Raises:
        InputError: the name is unknown, or the level is out of range.
    """
    if name not in PERTURBATIONS:
        raise unknown("perturbation", name, PERTURBATIONS)
    entry = PERTURBATIONS[name]
    low, high = entry.bounds
    whole = entry.corruption or name == "quantisation"
    if not low <= level <= high or (whole and level != int(level)):
        kind = "a whole number" if whole else "a number"
        raise InputError(f"level {level!r} of {name!r} ({entry.unit}) must be {kind} from {low:g} to {high:g}")
    return entry
