"""A study file: read, checked whole before anything starts, and written back resolved. Imports no torch."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from topotune.config import NONE, RECIPE, SETTINGS, check_setting
from topotune.errors import InputError, unknown
from topotune.recipes import settings_of
from topotune.search.checks import check_whole
from topotune.search.language import dimension, is_searched, written
from topotune.search.objectives import Constraint, constraint
from topotune.search.options import ENQUEUE, FREE, OPTIONS
from topotune.search.space import TRIAL_SECTIONS, Dimension, StudyFile

_SECTIONS = (*OPTIONS, *FREE, *TRIAL_SECTIONS)


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
    for section, table in content.items():
        if section == ENQUEUE:
            continue
        if section not in _SECTIONS:
            raise unknown("section", section, (*_SECTIONS, ENQUEUE), str(path))
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
    elif section not in _SECTIONS:
        raise unknown("section", section, _SECTIONS, f"--set {name}")
    content.setdefault(section, {})[key] = value


def _resolve(content: dict[str, Any], where: str) -> StudyFile:
    sections = {name: section_options(name, content.get(name, {}), where) for name in OPTIONS}
    sections |= {name: dict(content.get(name, {})) for name in FREE}
    metric = sections["objective"]["metric"]
    if isinstance(metric, list) and len(metric) == 1:
        sections["objective"]["metric"] = metric[0]  # spelled alike
    constraints = _constraints(sections["objective"]["constraints"], where)
    if sections["objective"]["metric"] != "validation_accuracy" and "pruner" not in content["study"]:
        sections["study"]["pruner"] = "none"  # trials are stopped by their validation accuracy
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
            if is_searched(value):
                dimensions[key] = dimension(key, value, place)
                sections[section][key] = written(dimensions[key])
            else:
                sections[section][key] = check_setting(key, value, place)
    study = StudyFile(sections, dimensions, _points(content.get(ENQUEUE, []), where), constraints)
    check_whole(study, where)
    return study


def section_options(section: str, given: dict[str, Any], where: str) -> dict[str, Any]:
    """One section of options, with defaults.

    Raises:
        InputError: an unknown key, or a value that it cannot have; ``where`` heads the text.
    """
    options = OPTIONS[section]
    for key, value in given.items():
        if key not in options:
            raise unknown("key", key, options, f"{where}: [{section}]")
        if not options[key].accepts(value):
            raise InputError(f"{where}: [{section}] {key} = {value!r} must be {options[key].wanted}")
    return {key: given.get(key, option.default) for key, option in options.items()}


def _constraints(texts: Iterable[str], where: str) -> tuple[Constraint, ...]:
    try:
        return tuple(map(constraint, texts))
    except InputError as error:
        raise InputError(f"{where}: [objective] constraints: {error}") from None


def _points(tables: Any, where: str) -> tuple[dict[str, Any], ...]:
    """[[enqueue]]: settings of trials that come first."""
    if not isinstance(tables, list) or not all(isinstance(one, dict) and one for one in tables):
        raise InputError(f"{where}: {ENQUEUE} must be tables of settings: [[{ENQUEUE}]]")
    place = f"{where}: [[{ENQUEUE}]]"
    return tuple({name: check_setting(name, value, place) for name, value in one.items()} for one in tables)


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


def to_toml(study: StudyFile) -> str:
    """The resolved study as TOML; reading it back gives the same study."""
    lines: list[str] = []
    order = ("study", *FREE, *TRIAL_SECTIONS, *(name for name in OPTIONS if name != "study"))
    for section, options in ((name, study.sections.get(name, {})) for name in order):
        lines += [f"[{section}]", *_lines(options), ""] if options or section not in FREE else []
    for point in study.points:
        lines += [f"[[{ENQUEUE}]]", *_lines(point), ""]
    return "\n".join(lines)


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


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
