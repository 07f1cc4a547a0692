"""How a study file says what a searched setting can be: choices, ranges, and on what conditions."""

from collections.abc import Mapping
from typing import Any

from topotune.config import SETTINGS, check_setting
from topotune.errors import InputError
from topotune.search.space import Case, Cases, Choices, Dimension, Plain, Range

WHEN = "when"
_FORMS = "{choices = […]} or {low = …, high = …, log = true, step = …}"


def is_searched(value: Any) -> bool:
    """Whether a setting's value in a study file is no constant."""
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def dimension(name: str, value: dict[str, Any] | list[dict[str, Any]], where: str) -> Dimension:
    """A searched setting: a table, a table with ``when``, or a list of such tables.

    Raises:
        InputError: it is none of these, or a value is not one that the setting can have.
    """
    if name in SETTINGS and not SETTINGS[name].metadata["identity"]:
        raise InputError(f"{where} {name}: cannot be searched, since it does not change the result; give it one value")
    if isinstance(value, dict) and WHEN not in value:
        return _plain(name, value, where)
    tables = [value] if isinstance(value, dict) else value
    cases = []
    for table in tables:
        if not isinstance(table, dict):
            raise InputError(f"{where} {name} = {value!r} must be a value, {_FORMS}, or a list of such tables")
        own = {key: one for key, one in table.items() if key != WHEN}
        cases.append(Case(_conditions(name, table.get(WHEN, {}), where), _plain(name, own, where)))
    for place, case in enumerate(cases[:-1], start=1):
        if not case.when:
            raise InputError(f"{where} {name}: its table {place} has no when, so that those after it never count")
    return Cases(tuple(cases))


def written(dimension: Dimension) -> dict[str, Any] | list[dict[str, Any]]:
    """A dimension as TOML has it, spelled alike: 1 and 1.0, log left out or false."""
    if not isinstance(dimension, Cases):
        return _table(dimension)
    tables = [
        _table(case.dimension) | ({WHEN: {name: list(one) for name, one in case.when.items()}} if case.when else {})
        for case in dimension.cases
    ]
    return tables[0] if len(tables) == 1 else tables


def _table(plain: Plain) -> dict[str, Any]:
    if isinstance(plain, Choices):
        return {"choices": list(plain.values)}
    found = {"low": plain.low, "high": plain.high, "log": plain.log}
    return found if plain.step is None else found | {"step": plain.step}


def _conditions(name: str, when: Any, where: str) -> Mapping[str, tuple[Any, ...]]:
    place = f"{where} {name}: {WHEN}"
    if not isinstance(when, dict):
        raise InputError(f"{place} = {when!r} must be a table: {{loss = 'ws'}}, or {{loss = ['ws', 'as']}}")
    found = {}
    for other, wanted in when.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        if other == name or not values:
            raise InputError(f"{place} = {when!r} must name other settings, with at least one value each")
        found[other] = tuple(check_setting(other, one, place) for one in values)
    return found


def _plain(name: str, value: dict[str, Any], where: str) -> Plain:
    place = f"{where} {name}"
    if set(value) == {"choices"}:
        return _choices(name, value["choices"], where)
    if not {"low", "high"} <= set(value) <= {"low", "high", "log", "step"}:
        raise InputError(f"{place} = {value!r} must be a value, {_FORMS}")
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
    found = Range(low, high, log, whole=type(low) is int)
    return found if "step" not in value else _stepped(found, value["step"], place)


def _choices(name: str, choices: Any, where: str) -> Choices:
    if not isinstance(choices, list) or not choices:
        raise InputError(f"{where} {name}: choices = {choices!r} must be a list of at least one value")
    values = tuple(check_setting(name, one, where) for one in choices)
    if len(set(values)) < len(values):
        raise InputError(f"{where} {name}: choices = {choices!r} names a value twice")
    return Choices(values)


def _stepped(bounds: Range, step: Any, place: str) -> Range:
    if bounds.log:
        raise InputError(f"{place}: step = {step!r} goes with no logarithmic scale; leave out one of the two")
    if type(step) not in ((int,) if bounds.whole else (int, float)) or not 0 < step <= bounds.high - bounds.low:
        kind = "an integer" if bounds.whole else "a number"
        raise InputError(f"{place}: step = {step!r} must be {kind} above 0 and at most high - low")
    steps = (bounds.high - bounds.low) / step
    if abs(steps - round(steps)) > 1e-9 * steps:
        raise InputError(f"{place}: from low = {bounds.low!r}, steps of {step!r} do not end at high = {bounds.high!r}")
    return Range(bounds.low, bounds.high, False, bounds.whole, step if bounds.whole else float(step))
