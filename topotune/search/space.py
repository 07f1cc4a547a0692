"""What a study searches: which settings take which values, and how a trial's settings come of a suggestion."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from topotune.config import NONE, SETTINGS, TrialConfig, unused_settings

DECIDING = ("topography", "loss", "strength")  # what decides which other settings matter

TRIAL_SECTIONS = ("fixed", "scientific", "nuisance")


@dataclass(frozen=True)
class Choices:
    """A setting that takes one of a few values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """A setting that takes any value between two bounds, both included; ``whole`` for integers."""

    low: float
    high: float
    log: bool
    whole: bool


Dimension = Choices | Range


@dataclass(frozen=True)
class StudyFile:
    """A study as it was asked for: validated, and resolved with defaults and overrides.

    sections: section -> key -> value, as TOML would hold it.
    dimensions: the searched settings, in the order of the file.
    """

    sections: dict[str, dict[str, Any]]
    dimensions: dict[str, Dimension]

    @property
    def name(self) -> str:
        return str(self.sections["study"]["name"])

    def option(self, section: str, key: str) -> Any:
        """The value of one option that is no trial setting."""
        return self.sections[section][key]

    @property
    def hash(self) -> str:
        """The study's identity: what is asked, not with how much effort, nor on which device."""
        asked: dict[str, Any] = {
            name: {key: value for key, value in self.sections[name].items() if SETTINGS[key].metadata["identity"]}
            for name in TRIAL_SECTIONS
        }
        asked["study"] = {key: self.sections["study"][key] for key in ("seed", "sampler", "pruner")}
        asked["objective"] = self.sections["objective"]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def constants(self) -> dict[str, Any]:
        """The settings that every trial shares."""
        values = {key: value for name in TRIAL_SECTIONS for key, value in self.sections[name].items()}
        return {key: value for key, value in values.items() if key not in self.dimensions}

    def suggest(self, choose: Callable[[str, Dimension], Any]) -> TrialConfig:
        """One trial's settings; ``choose`` is asked for each searched one that matters for it.

        The control has no topography, so it is asked nothing about one; but it keeps the study's own loss and layers,
        which say where it is pruned.
        """
        values = dict(self.constants)

        def unused() -> set[str]:
            return unused_settings(*(values.get(name, SETTINGS[name].default) for name in DECIDING))

        for name in sorted(self.dimensions, key=_rank):
            if name not in unused():
                values[name] = choose(name, self.dimensions[name])
        values = {name: value for name, value in values.items() if name not in unused() - {"loss", "layers"}}
        return TrialConfig(**values)

    @property
    def topographies(self) -> tuple[str, ...]:
        """The topographies of the study, the control first: it is always part of it."""
        dimension = self.dimensions.get("topography")
        named = dimension.values if isinstance(dimension, Choices) else (self.constants.get("topography", NONE),)
        return (NONE, *(name for name in named if name != NONE))

    @property
    def epochs(self) -> int:
        """The most epochs that a trial can take."""
        return int(self.ends("epochs")[1])

    def choices(self, name: str) -> tuple[Any, ...]:
        """The values that a setting can take, where it is no range."""
        dimension = self.dimensions.get(name)
        return dimension.values if isinstance(dimension, Choices) else (self.ends(name)[0],)

    def ends(self, name: str) -> tuple[Any, Any]:
        """The least and the greatest value that a setting can take in this study."""
        if name in self.dimensions:
            return ends_of(self.dimensions[name])
        return (self.constants.get(name, SETTINGS[name].default),) * 2


def _rank(name: str) -> int:
    return DECIDING.index(name) if name in DECIDING else len(DECIDING)


def ends_of(dimension: Dimension) -> tuple[Any, Any]:
    if isinstance(dimension, Choices):
        return min(dimension.values), max(dimension.values)
    return dimension.low, dimension.high
