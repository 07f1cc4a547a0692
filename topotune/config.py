"""One trial's settings: frozen, validated, hashed. Imports no torch, so that a bad setting is found at once."""

import hashlib
import json
import math
import operator
import sys
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any

from topotune.data import DATASET_NAMES, DATASETS, DatasetEntry
from topotune.errors import InputError, unknown
from topotune.losses import LAYER_REDUCTIONS, LOSSES, STRENGTHS, WEIGHT_SCHEDULES, check_organisation
from topotune.models import MODELS
from topotune.recipes import settings_of
from topotune.topography import DISTANCES, GRID_DIVISORS, POSITIONS, TOPOGRAPHIES, arrangement_of

SCHEDULES = ("step", "epoch", "constant")
RECIPE = "recipe"  # no setting, but the name of several
NONE = "none"  # no topography: the control


def _setting(
    default: Any, doc: str, *, low: float | None = None, above: float | None = None, high: float | None = None,
    below: float | None = None, choices: Any = None, identity: bool = True,
) -> Any:  # fmt: skip
    """A field: ``low`` and ``high`` are allowed bounds, ``above`` and ``below`` excluded ones; ``choices`` a table or
    tuple."""
    bounds = {">=": low, ">": above, "<=": high, "<": below}
    rules = {"doc": doc, "bounds": bounds, "choices": choices, "identity": identity}
    return field(default=default, metadata=rules)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """Everything that one training run depends on.

    Defaults are those of Poli, Dupoux & Riad (2022), section 3.1, where the paper has one.
    A default never changes: the identity of a trial is the hash of what differs from the defaults, so that
    a setting that is added later leaves the identity of old trials as it was.

    Raises:
        InputError: a value has the wrong type, is out of range or names nothing known.
    """

    dataset: str = _setting("digits", "which data; NAME.npz or NAME/ are your own", choices=DATASET_NAMES)
    model: str = _setting("small_cnn", "which network", choices=MODELS)
    topography: str = _setting(NONE, "where channels sit; none is the control", choices=(NONE, *TOPOGRAPHIES))
    loss: str = _setting("channel", "the topographic loss", choices=LOSSES)
    layers: str = _setting("code", "topographic layers: code, paper, convolutions, or names and patterns, with commas")
    weight: float = _setting(0.0, "λ, the weight of the topographic loss; ρ where strength is ratio", low=0)
    strength: str = _setting("fixed", "λ is the weight, or follows the gradients' ratio", choices=STRENGTHS)
    ratio_every: int = _setting(1, "steps from one measurement of the gradients' ratio to the next", low=1)
    weight_schedule: str = _setting("constant", "of the weight, over the training", choices=WEIGHT_SCHEDULES)
    distance: str = _setting("euclidean", "between two channels' positions", choices=DISTANCES)
    layer_reduction: str = _setting("sum", "over layers: sum (the code) or mean (the paper)", choices=LAYER_REDUCTIONS)
    grid_divisor: str = _setting("n-1", "of a grid's n steps: n-1 (the code) or n (the paper)", choices=GRID_DIVISORS)
    radius: float = _setting(0.5, "of circle and sphere: 0.5 (the code) or 1 (the paper)", above=0)
    nested_factor: float = _setting(0.5, "of one nested square's side and the one around it", above=0, below=1)
    swap_every: int = _setting(5, "epochs from one round of swaps to the next, where positions are learned", low=1)
    epochs: int = _setting(100, "passes over the training data", low=1)
    batch_size: int = _setting(256, "samples a step, over all workers", low=2)
    optimizer: str = _setting("sgd", "sgd with momentum, or adam", choices=("sgd", "adam"))
    learning_rate: float = _setting(0.01, "the highest rate of the schedule", above=0)
    momentum: float = _setting(0.9, "of sgd", low=0, high=1)
    weight_decay: float = _setting(0.01, "L2 penalty, inside the gradient", low=0)
    warmup: float = _setting(0.3, "share of the training over which the rate rises", low=0, high=1)
    schedule: str = _setting("step", "the rate moves every step, every epoch (code), or never", choices=SCHEDULES)
    augment: bool = _setting(True, "the data set's random crops and flips")
    precision: str = _setting("float32", "of the forward pass", choices=("float32", "bfloat16"))
    seed: int = _setting(0, "of the initial weights, the order of the data, augmentation and dropout", low=0)
    accumulate: int = _setting(1, "micro-batches a step: less memory; batch normalisation sees each alone", low=1)
    workers: int = _setting(1, "ranks that train together", low=1, high=1024)
    sync_batchnorm: bool = _setting(False, "batch normalisation over all ranks' samples, not each rank's own")
    device: str = _setting("auto", "auto: a GPU where there is one", choices=("auto", "cpu", "cuda"), identity=False)
    threads: int = _setting(0, "CPU threads a rank; 0 leaves it to torch", low=0, high=1024, identity=False)

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, check_setting(one.name, getattr(self, one.name)))
        if self.batch_size < 2 * self.workers * self.accumulate:
            parts = f"{self.workers} workers" + f" with {self.accumulate} micro-batches each" * (self.accumulate > 1)
            raise InputError(f"batch_size {self.batch_size} leaves {parts} fewer than 2 samples each")
        if self.accumulate > 1 and self.strength == "ratio":
            raise InputError("accumulate: strength 'ratio' measures the gradients of whole batches; it must be 1")
        self._check_topography()
        if self.dataset in DATASETS:  # a user's own are not looked at before they are read
            check_size(self.model, self.dataset, DATASETS[self.dataset])

    def _check_topography(self) -> None:
        _organisation, arrangement = arrangement_of(self.topography)
        without = self.topography == NONE or arrangement == "assigned"
        if without and self.weight > 0:
            what = "is the control and" if self.topography == NONE else "is assigned after training, which"
            raise InputError(f"topography {self.topography!r} {what} has no weight; weight = {self.weight:g} must be 0")
        if not without and self.weight == 0:
            raise InputError(
                f"topography {self.topography!r} with weight 0: a topography needs a weight above 0; the control is "
                f"{NONE!r}"
            )
        if self.topography == NONE:
            return
        check_organisation(self.loss, self.topography)
        if arrangement != "fixed" and LOSSES[self.loss].affinity is None:
            raise InputError(f"topography {self.topography!r}: the loss {self.loss!r} is no sum over pairs of channels")

    @property
    def topographic(self) -> bool:
        """Whether a topographic loss is part of this trial's training."""
        return self.weight > 0

    @property
    def arrangement(self) -> str:
        """How positions are handed out: fixed, learned or assigned; fixed for the control."""
        return arrangement_of(self.topography)[1]

    @property
    def organisation_options(self) -> dict[str, Any]:
        """The options of this topography's organisation, by name."""
        organisation, _ = arrangement_of(self.topography)
        return {name: getattr(self, name) for name in POSITIONS[organisation].options}

    @property
    def effective(self) -> dict[str, Any]:
        """The settings that can change the trial's result, by name."""
        unused = unused_settings(self.topography, self.loss, self.strength)
        names = [one.name for one in fields(self) if one.metadata["identity"] and one.name not in unused]
        return {name: getattr(self, name) for name in names}

    @property
    def hash(self) -> str:
        """The trial's identity: 16 hexadecimal digits over the settings that can change its result."""
        told = {name: value for name, value in self.effective.items() if value != SETTINGS[name].default}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The words by which a person finds a run."""
        topography = f"{self.topography} λ={self.weight:.3g}" if self.topographic else self.topography
        return f"{topography} seed={self.seed}"

    def replace(self, **changes: Any) -> "TrialConfig":
        """A copy with some settings changed, validated anew."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All settings by name; ``from_dict`` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "") -> "TrialConfig":
        """A config from settings by name; ``where`` (a file, a section) heads the text of an error.

        ``recipe``, a key of RECIPES, may stand among them and gives those that are left out.

        Raises:
            InputError: an unknown key or a bad value.
        """
        values = dict(values)
        if RECIPE in values:
            recipe, dataset = values.pop(RECIPE), values.get("dataset", SETTINGS["dataset"].default)
            values |= settings_of(recipe, dataset, values, where)
        return cls(**{name: check_setting(name, value, where) for name, value in values.items()})


def check_size(model: str, dataset: str, entry: DatasetEntry) -> None:
    """Whether a data set's images are large enough for a network.

    Raises:
        InputError: they are not.
    """
    (height, width), least = entry.shape[1:], MODELS[model].least
    if min(height, width) < least:
        raise InputError(
            f"model {model!r} needs images of at least {least}x{least} pixels, but dataset {dataset!r} "
            f"has {height}x{width}"
        )


# what means nothing without a topography
TOPOGRAPHIC = (
    "loss", "layers", "weight", "strength", "ratio_every", "weight_schedule", "distance", "layer_reduction",
    "grid_divisor", "radius", "nested_factor", "swap_every",
)  # fmt: skip


def unused_settings(topography: str, loss: str = "channel", strength: str = "fixed") -> set[str]:
    """The settings that cannot change the result of a trial with these."""
    if topography == NONE:
        return set(TOPOGRAPHIC)
    organisation, arrangement = arrangement_of(topography)
    every_option = {option for one in POSITIONS.values() for option in one.options}
    unused = every_option - set(POSITIONS[organisation].options)
    if arrangement != "learned":
        unused |= {"swap_every"}
    if strength == "fixed":
        unused |= {"ratio_every"}
    if LOSSES[loss].geometry != "targets":
        unused |= {"distance"}
    if arrangement == "assigned":
        unused |= {"weight", "strength", "ratio_every", "weight_schedule", "layer_reduction"}
    return unused


SETTINGS: dict[str, "Field[Any]"] = {one.name: one for one in fields(TrialConfig)}


def check_setting(name: str, value: Any, where: str = "") -> Any:
    """The value of one setting in its proper type (an integer is taken for a float).

    Raises:
        InputError: an unknown key, a wrong type, a value out of range or not among the choices.
    """
    if name not in SETTINGS:
        raise unknown("setting", name, SETTINGS, where)
    default: Any = SETTINGS[name].default
    rules, kind = SETTINGS[name].metadata, type(default)
    place = f"{where}: " if where else ""
    if kind is float and type(value) is int:
        value = float(value) if abs(value) <= sys.float_info.max else math.inf
    if type(value) is not kind:
        several = f"; to search them, write {{choices = {value!r}}}" if isinstance(value, list) else ""
        raise InputError(f"{place}{name} = {value!r} is not {_KIND_NAMES[kind]}{several}")
    if rules["choices"] is not None and value not in rules["choices"]:
        raise unknown(name, value, rules["choices"], where)
    bounds = {sign: bound for sign, bound in rules["bounds"].items() if bound is not None}
    if kind in (int, float):
        inside = -math.inf < value < math.inf and all(_COMPARE[sign](value, bound) for sign, bound in bounds.items())
        if not inside:
            wanted = " and ".join(f"{sign} {bound}" for sign, bound in bounds.items())
            raise InputError(f"{place}{name} = {value!r} is out of range; it must be finite and {wanted}")
    return value


_KIND_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
_COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
