"""A study file: read, checked whole before anything starts, and written back resolved. Imports no torch."""

import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from topotune.config import NONE, RECIPE, SETTINGS, check_setting, check_size, unused_settings
from topotune.data import DATASETS, dataset_entry
from topotune.errors import InputError, unknown
from topotune.recipes import settings_of
from topotune.search.space import TRIAL_SECTIONS, Choices, Dimension, Range, StudyFile, ends_of

SAMPLERS = ("tpe", "random")
PRUNERS = ("successive_halving", "hyperband", "median", "none")
OBJECTIVES = ("validation_accuracy",)
CRITERIA = ("l2", "l1", "random", "neighbour")
SCOPES = ("topographic", "all")


@dataclass(frozen=True)
class Option:
    """One key of a section that is no trial setting: its default, what it must be, and a test of that."""

    default: Any
    wanted: str
    accepts: Callable[[Any], bool]


def _whole(low: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and value >= low


def _number(low: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and low <= value < math.inf


def _proportions(value: Any) -> bool:
    if not isinstance(value, list) or not all(_number(0)(one) and one <= 1 for one in value):
        return False
    return 0 < len(value) == len({float(one) for one in value})


def _one_of(names: tuple[str, ...]) -> Callable[[Any], bool]:
    return lambda value: value in names


def _some_of(names: tuple[str, ...]) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        several = value if isinstance(value, list) else [value]
        return all(one in names for one in several) and 0 < len(several) == len(set(several))

    return accepts


# letters, digits, dots, dashes: the name is a folder, an MLflow experiment and part of a command
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_TAKEN = ("mlflow.db", "mlartifacts")  # what lies beside the studies

OPTIONS: dict[str, dict[str, Option]] = {
    "study": {
        "name": Option("", "a name of letters, digits, '.', '_' and '-'",
                       lambda value: isinstance(value, str) and bool(_NAME.fullmatch(value)) and value not in _TAKEN),
        "description": Option("", "a string", lambda value: isinstance(value, str)),
        "sampler": Option("tpe", f"one of {', '.join(SAMPLERS)}", _one_of(SAMPLERS)),
        "pruner": Option("successive_halving", f"one of {', '.join(PRUNERS)}", _one_of(PRUNERS)),
        "seed": Option(0, "an integer from 0 to 2147483647", lambda value: _whole(0)(value) and value < 2**31),
    },
    "objective": {
        "metric": Option("validation_accuracy", f"one of {', '.join(OBJECTIVES)}", _one_of(OBJECTIVES)),
    },
    "budget": {
        "trials": Option(50, "an integer >= 1", _whole(1)),
        "min_epochs": Option(1, "an integer >= 1: no trial is stopped before", _whole(1)),
        "reduction_factor": Option(3, "an integer >= 2: one in so many trials passes a rung", _whole(2)),
        "cpus_per_worker": Option(1, "a number > 0", lambda value: _number(0)(value) and value > 0),
        "gpus_per_worker": Option("auto", "a number >= 0, or 'auto': 1 where the cluster has GPUs",
                                  lambda value: value == "auto" or _number(0)(value)),
    },
    "confirm": {
        "seeds": Option(5, "an integer >= 1", _whole(1)),
    },
    "prune": {
        "criterion": Option("l2", f"one of {', '.join(CRITERIA)}, or a list of them", _some_of(CRITERIA)),
        "scope": Option("topographic", f"one of {', '.join(SCOPES)}: which layers", _one_of(SCOPES)),
        "proportions": Option([step / 20 for step in range(21)], "distinct numbers from 0 to 1", _proportions),
        "finetune_epochs": Option(0, "an integer >= 0: epochs of training on after pruning", _whole(0)),
        "finetune_proportions": Option([0.25, 0.5, 0.75], "distinct numbers from 0 to 1", _proportions),
    },
}  # fmt: skip


def load_study(path: Path, overrides: Mapping[str, Any] | None = None) -> StudyFile:
    """Read and validate a study file.

    Args:
        path: a TOML file.
        overrides: ``section.key`` or a trial setting's name -> value, as ``--set`` gives them.

    Raises:
        InputError: the file, the section and the key that is wrong, and what would be right.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such study file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None
    known = (*OPTIONS, *TRIAL_SECTIONS)
    for section, table in content.items():
        if section not in known:
            raise unknown("section", section, known, str(path))
        if not isinstance(table, dict):
            raise InputError(f"{path}: {section} = {table!r} must be a table: [{section}]")
    for name, value in (overrides or {}).items():
        _override(content, name, value)
    if "name" not in content.setdefault("study", {}):
        content["study"]["name"] = path.stem
    return _resolve(content, str(path))


def _override(content: dict[str, Any], name: str, value: Any) -> None:
    """Put one ``--set`` into its section; a bare name is a trial setting, and stays in the section it is in."""
    section, dot, key = name.partition(".")
    if not dot:
        section, key = next((one for one in TRIAL_SECTIONS if name in content.get(one, {})), "fixed"), name
        if key not in SETTINGS and key != RECIPE:
            raise unknown("setting", key, (*SETTINGS, *(f"{one}.…" for one in OPTIONS)), "--set")
    elif section not in (*OPTIONS, *TRIAL_SECTIONS):
        raise unknown("section", section, (*OPTIONS, *TRIAL_SECTIONS), f"--set {name}")
    content.setdefault(section, {})[key] = value


def _resolve(content: dict[str, Any], where: str) -> StudyFile:
    sections: dict[str, dict[str, Any]] = {}
    for section, options in OPTIONS.items():
        given = content.get(section, {})
        for key, value in given.items():
            if key not in options:
                raise unknown("key", key, options, f"{where}: [{section}]")
            if not options[key].accepts(value):
                raise InputError(f"{where}: [{section}] {key} = {value!r} must be {options[key].wanted}")
        sections[section] = {key: given.get(key, option.default) for key, option in options.items()}
    _follow_recipe(content, where)
    _add_control(content)
    dimensions: dict[str, Dimension] = {}
    seen: dict[str, str] = {}
    for section in TRIAL_SECTIONS:
        sections[section] = dict(content.get(section, {}))
        for key, value in sections[section].items():
            if key in seen:
                raise InputError(f"{where}: {key} stands in [{seen[key]}] and in [{section}]; keep one")
            seen[key] = section
            place = f"{where}: [{section}]"
            if isinstance(value, dict):
                dimensions[key] = _dimension(key, value, place)
                sections[section][key] = _plain(dimensions[key])  # spelled alike: 1 and 1.0, log left out or false
            else:
                sections[section][key] = check_setting(key, value, place)
    study = StudyFile(sections, dimensions)
    _check_whole(study, where)
    return study


def _follow_recipe(content: dict[str, Any], where: str) -> None:
    """``recipe`` in [fixed] gives the settings that stand in no section."""
    fixed = content.setdefault("fixed", {})
    if RECIPE not in fixed:
        return
    recipe = fixed.pop(RECIPE)
    given = {key: value for section in TRIAL_SECTIONS for key, value in content.get(section, {}).items()}
    fixed |= settings_of(recipe, given.get("dataset", SETTINGS["dataset"].default), given, f"{where}: [fixed]")


def _add_control(content: dict[str, Any]) -> None:
    """The control is part of every study that compares anything: ``none`` joins the topographies to choose from."""
    for section in TRIAL_SECTIONS:
        table = content.get(section, {})
        value = table.get("topography", NONE)
        choices = value.get("choices") if isinstance(value, dict) else None
        if isinstance(choices, list) and choices and NONE not in choices:
            table["topography"] = value | {"choices": [NONE, *choices]}
        elif isinstance(value, str) and value != NONE:
            table["topography"] = {"choices": [NONE, value]}


def _dimension(name: str, value: dict[str, Any], where: str) -> Dimension:
    """A searched setting from ``{choices = […]}`` or ``{low = …, high = …, log = …}``."""
    place = f"{where} {name}"
    if name in SETTINGS and not SETTINGS[name].metadata["identity"]:
        raise InputError(f"{place}: cannot be searched, since it does not change the result; give it one value")
    if set(value) == {"choices"}:
        if not isinstance(value["choices"], list) or not value["choices"]:
            raise InputError(f"{place}: choices = {value['choices']!r} must be a list of at least one value")
        values = tuple(check_setting(name, one, where) for one in value["choices"])
        if len(set(values)) < len(values):
            raise InputError(f"{place}: choices = {value['choices']!r} names a value twice")
        return Choices(values)
    if not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        raise InputError(f"{place} = {value!r} must be a value, {{choices = […]}} or {{low = …, high = …, log = true}}")
    log = value.get("log", False)
    if type(log) is not bool:
        raise InputError(f"{place}: log = {log!r} must be true or false")
    low, high = (check_setting(name, value[bound], where) for bound in ("low", "high"))
    if type(low) not in (int, float):
        raise InputError(f"{place} is no number and has no range; give {{choices = […]}}")
    if low >= high:
        raise InputError(f"{place}: low = {low!r} must be less than high = {high!r}")
    if log and low <= 0:
        raise InputError(f"{place}: low = {low!r} must be more than 0 on a logarithmic scale")
    return Range(low, high, log, whole=type(low) is int)


def _plain(dimension: Dimension) -> dict[str, Any]:
    if isinstance(dimension, Choices):
        return {"choices": list(dimension.values)}
    return {"low": dimension.low, "high": dimension.high, "log": dimension.log}


def _check_whole(study: StudyFile, where: str) -> None:
    """Try the extremes, so that a combination that no trial can have is found now and not in the night."""
    weighed = [name for name in study.topographies if "weight" not in unused_settings(name)]
    if weighed and study.ends("weight")[0] == 0:
        raise InputError(
            f"{where}: weight, λ, can be 0 here (that is its default): give it values above 0; the control is part of "
            "the study in any case"
        )
    searched = study.dimensions.get("loss")
    losses = searched.values if isinstance(searched, Choices) else ("",)
    for topography, loss, last in product(study.topographies, losses, (False, True)):
        named = {"topography": topography, "loss": loss}

        def extreme(name: str, dimension: Dimension, named: dict[str, str] = named, last: bool = last) -> Any:
            return named[name] if name in named else ends_of(dimension)[last]

        try:
            study.suggest(extreme)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    for name in study.choices("dataset"):
        if name in DATASETS:
            _check_batch(study, name, DATASETS[name].train, f"{where}: ")
    if study.option("budget", "min_epochs") > study.epochs:
        minimum = study.option("budget", "min_epochs")
        raise InputError(f"{where}: [budget] min_epochs = {minimum} is more than the trials' {study.epochs} epochs")
    if "workers" in study.dimensions:
        raise InputError(f"{where}: workers cannot be searched: all trials of a study ask for the same resources")
    if "seed" in study.dimensions:
        raise InputError(f"{where}: seed cannot be searched: confirm needs seeds that the search has not seen")


def _check_batch(study: StudyFile, name: str, samples: int, place: str = "") -> None:
    largest = study.ends("batch_size")[1]
    if largest > samples:
        raise InputError(f"{place}batch_size = {largest} is more than the {samples} training images of {name!r}")


def check_own_data(study: StudyFile, root: Path | None) -> None:
    """What ``load_study`` checks of the known data sets, of a user's own, which must be looked at for that.

    Raises:
        InputError: they are missing or damaged, too few for a batch, or too small for a network.
    """
    for name in study.choices("dataset"):
        if name not in DATASETS:
            entry = dataset_entry(name, root)
            _check_batch(study, name, entry.train)
            for model in study.choices("model"):
                check_size(model, name, entry)


def to_toml(study: StudyFile) -> str:
    """The resolved study as TOML; reading it back gives the same study."""
    lines: list[str] = []
    for section in ("study", *TRIAL_SECTIONS, "objective", "budget", "confirm", "prune"):
        lines += [f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in study.sections[section].items()), ""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # a JSON string is a TOML basic string but for one character, and numbers and booleans are spelled alike
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def parse_override(text: str) -> tuple[str, Any]:
    """``key=value`` from the command line; the value is read as TOML, and as a string where it is none.

    Raises:
        InputError: there is no ``=``.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {text}: must be key=value")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
