"""What a study file asked for, in tables and words."""

from collections.abc import Mapping
from typing import Any

from topotune.report.tables import Table
from topotune.report.wording import plain


def settings_table(study: Mapping[str, Any]) -> Table:
    """What was fixed and what was searched, from the study file."""
    rows = (
        (role, "weight (λ)" if name == "weight" else name, values_in_words(value))
        for role in ("scientific", "nuisance", "fixed")
        for name, value in study.get(role, {}).items()
    )
    return Table(("Role", "Setting", "Value or values"), tuple(rows), words=3)


_IF_ANY = ("hours", "device_hours", "patience", "system_metrics", "finetune_epochs")  # 0 and false say nothing


def method_table(study: Mapping[str, Any]) -> Table:
    """How the study went about it: sampler and pruner with their options, budget and what follows the search."""
    parts = ("study", "sampler", "pruner", "objective", "budget", "confirm", "prune", "robustness")
    points = {f"point {place}": one for place, one in enumerate(study.get("enqueue", []), start=1)}
    told = (*((part, study.get(part, {})) for part in parts), ("tried first", points))
    rows = (
        (part, name, values_in_words(value))
        for part, values in told
        for name, value in values.items()
        if (part, name) not in (("study", "name"), ("study", "description"))  # they head the page
        and not (value == [] or (name in _IF_ANY and not value))  # nothing asked for
        and not (name == "finetune_proportions" and not values.get("finetune_epochs"))
    )
    return Table(("Part", "Setting", "Value"), tuple(rows), words=3)


def values_in_words(value: Any) -> str:
    """A constant, a list, or what is searched (``{choices=[…]}``, ``{low=…, high=…, …}``, several with conditions) in
    words; numbers as they were written."""
    if isinstance(value, list):
        several = bool(value) and isinstance(value[0], dict)
        return ("; " if several else ", ").join(values_in_words(one) + _else(one, several) for one in value)
    if not isinstance(value, dict):
        return plain(value)
    if "when" in value:
        where = " and ".join(f"{name} is {_either(one)}" for name, one in value["when"].items())
        return f"{values_in_words({name: one for name, one in value.items() if name != 'when'})}, where {where}"
    if set(value) == {"choices"}:
        return "one of " + values_in_words(value["choices"])
    if {"low", "high"} <= set(value) <= {"low", "high", "log", "step"}:
        scale = ", log scale" if value.get("log") else f", in steps of {plain(value.get('step'))}" * ("step" in value)
        return f"{plain(value['low'])} to {plain(value['high'])}{scale}"
    return ", ".join(f"{name} = {values_in_words(one)}" for name, one in value.items())


def _either(values: Any) -> str:
    return " or ".join(map(plain, values)) if isinstance(values, list) else plain(values)


def _else(value: Any, several: bool) -> str:
    """Of the last of several ways: it is for all other trials."""
    return ", else" if several and "when" not in value else ""
