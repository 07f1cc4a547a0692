"""What a study searches: which settings take which values, and how a trial's settings come of a suggestion."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from itertools import product
from typing import Any

from topotune.config import NONE, SETTINGS, TrialConfig, unused_settings
from topotune.search.objectives import Constraint

DECIDING = ("topography", "loss", "strength")  # what decides which other settings matter

WHERE = ("loss", "layers")  # what says which layers are topographic, and so where a control is pruned

TRIAL_SECTIONS = ("fixed", "scientific", "nuisance")


@dataclass(frozen=True)
class Choices:
    """A setting that takes one of a few values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """A setting that takes any value between two bounds, both included. ``whole``: integers; ``step``: from low on."""

    low: float
    high: float
    log: bool
    whole: bool
    step: float | None = None


Plain = Choices | Range


@dataclass(frozen=True)
class Case:
    """One of the ways in which a setting is searched: where every setting of ``when`` has one of its values."""

    when: Mapping[str, tuple[Any, ...]]
    dimension: Plain

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it is this trial's case; a setting that was not given has its default."""
        return all(values.get(name, SETTINGS[name].default) in wanted for name, wanted in self.when.items())


@dataclass(frozen=True)
class Cases:
    """A setting that is searched in one way here and in another there; where no case holds, it has its default."""

    cases: tuple[Case, ...]

    def parameter(self, name: str, case: Case) -> str:
        """What a sampler knows it by: the name alone would stand for several distributions."""
        if len(self.cases) == 1:
            return name
        conditions = (f"{one}={'|'.join(map(str, wanted))}" for one, wanted in case.when.items())
        return f"{name} [{', '.join(conditions) or 'else'}]"


Dimension = Choices | Range | Cases


@dataclass(frozen=True)
class Branch:
    """One way in which the settings that decide on others can fall.

    values: the settings that are settled. open: what is still to be suggested, setting -> its dimension there.
    """

    values: dict[str, Any]
    open: dict[str, Plain]

    def allows(self, point: Mapping[str, Any]) -> bool:
        """Whether a trial of this branch can have these settings."""
        return all(
            within(value, self.open[name]) if name in self.open else self.values.get(name) == value
            for name, value in point.items()
        )

    def choices(self, name: str) -> tuple[Any, ...]:
        """The values that a setting without a range can have here."""
        dimension = self.open.get(name)
        if isinstance(dimension, Choices):
            return dimension.values
        return (self.values.get(name, SETTINGS[name].default),)


@dataclass(frozen=True)
class StudyFile:
    """A study as it was asked for: validated, and resolved with defaults and overrides.

    sections: section -> key -> value, as TOML would hold it.
    dimensions: the searched settings, in the order of the file.
    points: settings of trials that come first, [[enqueue]] of the file.
    constraints: what a trial must keep to be the best.
    """

    sections: dict[str, dict[str, Any]]
    dimensions: dict[str, Dimension]
    points: tuple[dict[str, Any], ...] = ()
    constraints: tuple[Constraint, ...] = field(default=(), compare=False)  # sections has their words

    @property
    def name(self) -> str:
        return str(self.sections["study"]["name"])

    def option(self, section: str, key: str) -> Any:
        """The value of one option that is no trial setting."""
        return self.sections[section][key]

    @property
    def objectives(self) -> tuple[str, ...]:
        """The metrics that are optimised, the first one first: it decides where one trial has to be chosen."""
        metric = self.option("objective", "metric")
        return (metric,) if isinstance(metric, str) else tuple(metric)

    @property
    def measures(self) -> tuple[str, ...]:
        """All metrics that a complete trial must have: objectives, and what constraints are about."""
        return tuple(dict.fromkeys((*self.objectives, *(one.metric for one in self.constraints))))

    @property
    def replicates(self) -> int:
        """On how many seeds a trial is measured."""
        return int(self.option("budget", "replicates"))

    @property
    def hash(self) -> str:
        """The study's identity: what is asked, not with how much effort, nor on which device. What is as if it had
        not been said is left out, so that an option that is added later leaves the identity of old studies as it was.
        """
        asked: dict[str, Any] = {
            name: {key: value for key, value in self.sections[name].items() if SETTINGS[key].metadata["identity"]}
            for name in TRIAL_SECTIONS
        }
        asked["study"] = {key: self.sections["study"][key] for key in ("seed", "sampler", "pruner")}
        asked["objective"] = {key: value for key, value in self.sections["objective"].items() if value != []}
        asked |= {name: self.sections[name] for name in ("sampler", "pruner") if self.sections.get(name)}
        asked |= {"replicates": self.replicates} if self.replicates > 1 else {}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def constants(self) -> dict[str, Any]:
        """The settings that every trial shares."""
        values = {key: value for name in TRIAL_SECTIONS for key, value in self.sections[name].items()}
        return {key: value for key, value in values.items() if key not in self.dimensions}

    def suggest(self, choose: Callable[[str, Plain], Any]) -> TrialConfig:
        """One trial's settings; ``choose`` is asked for each searched one that matters for it, by parameter.

        The control has no topography, so it is asked nothing about one; but it keeps the study's own loss and layers
        (of several the first), which say where it is pruned.
        """
        values = {name: self.choices(name)[0] for name in WHERE if name in self.dimensions} | self.constants
        for name in self.order:
            if name not in _unused(values) and (found := self.case(name, values)):
                values[name] = choose(*found)
        return config_of(values)

    def told(self, config: TrialConfig) -> dict[str, Any]:
        """A trial's settings as a person compares them: those that any trial here uses, so that the control has them
        too (weight 0), but for searched ones that mean nothing in this trial."""
        unused = set.intersection(*(_unused(branch.values) for branch in self.branches))
        meaningless = {name for name in self.dimensions if name != "weight" and name not in config.effective}
        names = [
            name for name, one in SETTINGS.items() if one.metadata["identity"] and name not in unused | meaningless
        ]
        return {name: getattr(config, name) for name in names}

    def case(self, name: str, values: Mapping[str, Any]) -> tuple[str, Plain] | None:
        """How a searched setting is searched where these values are settled: its parameter and dimension, if it is."""
        dimension = self.dimensions[name]
        if not isinstance(dimension, Cases):
            return name, dimension
        for case in dimension.cases:
            if case.holds(values):
                return dimension.parameter(name, case), case.dimension
        return None

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The searched settings, each after those that decide on it.

        Raises:
            ValueError: conditions that go round in a circle; its text names the setting.
        """
        found: list[str] = []

        def visit(name: str, above: tuple[str, ...]) -> None:
            if name in above:
                raise ValueError(name)
            for other in self.conditions(name):
                if other in self.dimensions:
                    visit(other, (*above, name))
            if name not in found:
                found.append(name)

        for name in sorted(self.dimensions, key=_rank):
            visit(name, ())
        return tuple(found)

    def conditions(self, name: str) -> set[str]:
        """The settings that decide how a searched one is searched."""
        dimension = self.dimensions[name]
        return {one for case in dimension.cases for one in case.when} if isinstance(dimension, Cases) else set()

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """Every way in which the settings that decide on others can fall."""
        deciding = {*DECIDING, *(one for name in self.dimensions for one in self.conditions(name))}

        def walk(values: dict[str, Any], still: dict[str, Plain], names: tuple[str, ...]) -> Iterator[Branch]:
            if not names:
                yield Branch(values, still)
                return
            name, *rest = names
            unused, searched = name in _unused(values), self.dimensions[name]
            found = None if unused else self.case(name, values)
            if found is None:
                # the control keeps the first of these, as ``suggest`` has it
                first = {name: searched.values[0]} if unused and name in WHERE and isinstance(searched, Choices) else {}
                yield from walk(values | first, still, tuple(rest))
            elif name in deciding and isinstance(found[1], Choices):
                for value in found[1].values:
                    yield from walk(values | {name: value}, still, tuple(rest))
            else:
                yield from walk(values, still | {name: found[1]}, tuple(rest))

        return tuple(walk(dict(self.constants), {}, self.order))

    def size(self, points: int | None = None) -> float:
        """How many configurations there are; a range without steps has ``points`` of them, or infinitely many."""
        return sum(math.prod(count(one, points) for one in branch.open.values()) for branch in self.branches)

    @property
    def topographies(self) -> tuple[str, ...]:
        """The topographies of the study, the control first: it is always part of it."""
        named = self.choices("topography")
        return (NONE, *(name for name in named if name != NONE))

    def variants(self) -> list[dict[str, Any]] | None:
        """What each variant that is confirmed has settled: the control, and of each topography every combination of
        the settings that ``[confirm] per`` names; None where one of these is a range."""
        names, found = self.option("confirm", "per"), [{"topography": NONE}]
        for branch in self.branches:
            if any(isinstance(branch.open.get(name), Range) for name in names):
                return None
            own = ["topography", *(name for name in names if name in branch.open or name in branch.values)]
            for values in product(*map(branch.choices, own)):
                one = dict(zip(own, values, strict=True))
                if values[0] != NONE and one not in found:
                    found.append(one)
        return found

    @cached_property
    def epochs(self) -> int:
        """The most epochs that a trial can take on one seed."""
        return int(self.ends("epochs")[1])

    def choices(self, name: str) -> tuple[Any, ...]:
        """The values that a setting can take; of a range, its ends."""
        found: dict[Any, None] = {}
        for branch in self.branches:
            if name in branch.open:
                dimension = branch.open[name]
                own = dimension.values if isinstance(dimension, Choices) else (dimension.low, dimension.high)
                found |= dict.fromkeys(own)
            elif name not in _unused(branch.values):
                found[branch.values.get(name, SETTINGS[name].default)] = None
        # a setting that no trial uses
        return tuple(found) or (self.constants.get(name, SETTINGS[name].default),)

    def ends(self, name: str) -> tuple[Any, Any]:
        """The least and the greatest value that a setting can take in this study."""
        values = self.choices(name)
        return min(values), max(values)


def count(dimension: Plain, points: int | None = None) -> float:
    """How many values a dimension has; a range without steps ``points`` of them at most, or infinitely many."""
    if isinstance(dimension, Choices):
        return len(dimension.values)
    if step := dimension.step or (1 if dimension.whole else None):
        whole = round((dimension.high - dimension.low) / step) + 1
        return whole if dimension.step or points is None else min(whole, points)
    return math.inf if points is None else points


def within(value: Any, dimension: Plain) -> bool:
    """Whether a dimension holds a value."""
    if isinstance(dimension, Choices):
        return value in dimension.values
    if not dimension.low <= value <= dimension.high:
        return False
    steps = (value - dimension.low) / dimension.step if dimension.step else 0.0
    return bool(abs(steps - round(steps)) <= 1e-9 * max(steps, 1))


def spelled(value: Any, dimension: Plain) -> Any:
    """A value as a dimension spells it: 0.1 + 2 · 0.1 is 0.3."""
    if isinstance(dimension, Choices) or dimension.whole or dimension.step is None:
        return value
    low, step = Decimal(str(dimension.low)), Decimal(str(dimension.step))
    return float(low + round((value - dimension.low) / dimension.step) * step)


def ends_of(dimension: Plain) -> tuple[Any, Any]:
    """The least and the greatest value."""
    if isinstance(dimension, Choices):
        return min(dimension.values), max(dimension.values)
    return dimension.low, dimension.high


def config_of(values: Mapping[str, Any]) -> TrialConfig:
    """A trial of these settings, without those that mean nothing beside the others.

    Raises:
        InputError: they do not go together.
    """
    left_out = _unused(values) - set(WHERE)
    return TrialConfig(**{name: value for name, value in values.items() if name not in left_out})


def _unused(values: Mapping[str, Any]) -> set[str]:
    return unused_settings(*(values.get(name, SETTINGS[name].default) for name in DECIDING))


def _rank(name: str) -> int:
    return DECIDING.index(name) if name in DECIDING else len(DECIDING)
