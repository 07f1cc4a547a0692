"""Numbers and findings in words: how the report writes an accuracy, a difference, and what it concludes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from topotune.config import NONE

MISSING = "–"
ALPHA = 0.05  # the share of false findings, over all comparisons of a study


def plain(value: Any, spec: str = "") -> str:
    """A value as it was written; ``spec`` is applied to numbers only."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, spec) if isinstance(value, int | float) else str(value)


def number(value: Any) -> str:
    """A sampled value: a float with three significant digits, all else as it is."""
    return plain(value, ".3g" if isinstance(value, float) else "")


def percent(fraction: float | None) -> str:
    """A fraction in percent, without the sign: 0.9812 is ``98.12``."""
    return MISSING if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.2f}"


def points(difference: float | None) -> str:
    """A difference of fractions in percentage points, always with its sign: ``+0.42``, ``−0.10``."""
    if difference is None or not math.isfinite(difference):
        return MISSING
    text = f"{100 * difference:+.2f}"
    # a rounded nothing has no direction
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """``+0.10 to +0.74``, in percentage points."""
    return MISSING if low is None or high is None else f"{points(low)} to {points(high)}"


def trials_sentence(counts: Mapping[str, int]) -> str:
    """How many trials there were, and how they ended."""
    total = sum(counts.values())
    if not total:
        return "No trial has been run yet."
    ended = ", ".join(f"{counts.get(state, 0)} {state}" for state in ("complete", "pruned", "failed"))
    repeated = f", {counts['repeated']} measured before" if counts.get("repeated") else ""
    running = f", {counts['running']} unfinished" if counts.get("running") else ""
    return f"{total} {'trial' if total == 1 else 'trials'}: {ended}{repeated}{running}."


def best_sentence(best: Mapping[str, Any] | None) -> str:
    """The best configuration of the search."""
    if best is None:
        return "No configuration can be called the best yet: no trial is complete."
    broken = " No complete trial keeps the constraints, nor does this one." * (best.get("feasible") is False)
    return (
        f"The search's best configuration: {configuration(best['topography'], best['weight'])}, "
        f"validation accuracy {percent(best['validation_accuracy'])}% (trial {best['id']}).{broken}"
    )


def board_caption(asked: Mapping[str, Any], rows: int) -> str:
    """What the leaderboard of a study is ordered by; ``asked``: the study file's [objective]."""
    metric = asked.get("metric", "validation_accuracy")
    first = (metric if isinstance(metric, str) else metric[0]).replace("_", " ")
    kept = ", those that keep the constraints first" * bool(asked.get("constraints"))
    return f"The best {rows} of the complete trials, by {first}{kept}"


def checkpoint_sentence(best: Mapping[str, Any] | None) -> str:
    """Which model the study's ``best/`` holds."""
    if best is None:
        return ""
    return (
        f"The checkpoint in best/: {configuration(best['topography'], best['weight'])}, seed {best['seed']}, "
        f"validation accuracy {percent(best['validation_accuracy'])}%."
    )


def configuration(topography: str, weight: float | None) -> str:
    """``grid2d with λ = 0.3``, or that it is the control."""
    if topography == NONE:
        return "the control (no topography)"
    return f"{topography} with λ = {number(weight)}" if weight else topography


def best_words(best: Mapping[str, Any] | None) -> str:
    """The best configuration of a search and its accuracy, for a table."""
    if best is None:
        return MISSING
    return f"{configuration(best['topography'], best['weight'])}: {percent(best['validation_accuracy'])}%"


def headline(confirmed: Sequence[Mapping[str, Any]]) -> str:
    """What the confirmation found of all topographies, in a sentence with numbers; empty before it."""
    control = next((one for one in confirmed if one["topography"] == NONE), None)
    others = [one for one in confirmed if one["topography"] != NONE and one.get("difference") is not None]
    if control is None or all(one.get("low") is None for one in others):
        return ""
    sides = [direction(one) for one in others]
    found = [f"{sides.count(side)} {_SIDES[side][sides.count(side) > 1]}" for side in _SIDES if side in sides]
    best = max(others, key=lambda one: float(one["mean"]))
    named = configuration(best["topography"], best["weight"])
    kind = "configurations" if any(" " in one["topography"] for one in others) else "topographies"
    told = f"Of {len(others)} {kind}, {listed(found)}"
    if len(others) == 1:
        told = f"{named} {_SIDES[sides[0]][0]}"
    elif not any(sides):
        told = f"None of {len(others)} {kind} can be told apart from"
    return (
        f"{told} the control in test accuracy ({percent(control['mean'])}%, {control['seeds']} seeds); "
        f"{'its mean is' if len(others) == 1 else f'the highest mean is that of {named},'} {percent(best['mean'])}% "
        f"({points(best['difference'])} points, {sure(best)})."
    )


_SIDES = {
    1: ("is above", "are above"), -1: ("is below", "are below"),
    0: ("cannot be told apart from", "cannot be told apart from"),
}  # fmt: skip


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]


def sure(one: Mapping[str, Any]) -> str:
    """How sure a difference is: its interval, and its p where that was corrected."""
    if one.get("low") is None or one.get("high") is None:
        return "no interval"
    corrected = one.get("p_holm")
    tested = "" if corrected is None else f", p = {plain(corrected, '.2g')} corrected for the comparisons"
    return f"95% interval {interval(one['low'], one['high'])}{tested}"


def direction(one: Mapping[str, Any]) -> int:
    """1 where a topography is above the control, −1 below; 0 where no difference is found, or no interval is there."""
    low, high, corrected = one.get("low"), one.get("high"), one.get("p_holm")
    if low is None or high is None or low <= 0 <= high or (corrected is not None and corrected > ALPHA):
        return 0
    return 1 if one["difference"] > 0 else -1


def pruning_headline(areas: Sequence[Mapping[str, Any]]) -> str:
    """Which topography keeps most when pruned, the first way of pruning; empty where it cannot be said."""
    first = [one for one in areas if (one["criterion"], one["scope"]) == (areas[0]["criterion"], areas[0]["scope"])]
    known = [one for one in first if one["topography"] != NONE and one.get("difference") is not None]
    if not known:
        return ""
    above = [one for one in known if direction(one) > 0]
    best = max(above or known, key=lambda one: float(one["difference"]))
    named = configuration(best["topography"], best["weight"])
    told = f"{points(best['difference'])} points from the control’s, {sure(best)}"
    if above:
        return f"Pruned, {named} keeps most: its mean accuracy over all proportions is {told}."
    nothing = f"{named} is not" if len(known) == 1 else "nothing is"
    whose = "" if len(known) == 1 else f"the highest, of {named}, is "
    return f"Pruned, {nothing} found to keep more than the control (mean accuracy over all proportions: {whose}{told})."


def studied_sentence(rows: Sequence[Mapping[str, Any]], layers: Sequence[str]) -> str:
    """Of which layer these rows of analysis.csv are, how they were made, and what else the file has; empty for none."""
    if not rows:
        return ""
    layer, settings = rows[0]["layer"], rows[0]["settings"]
    others = [one for one in layers if one != layer]
    more = f", the last of those that were studied; analysis.csv has {listed(others)} too" if others else ""
    return f"Layer {layer}{more}. Settings: {settings}."


def finding(one: Mapping[str, Any]) -> str:
    """What the confirmation says of one topography: a difference, none found, or too few seeds to say."""
    name, difference, seeds = (
        configuration(one["topography"], one["weight"]),
        one.get("difference"),
        one.get("shared_seeds", one["seeds"]),
    )
    low, high = one.get("low"), one.get("high")
    trained = f"{seeds} {'seed' if seeds == 1 else 'seeds'}"
    if difference is None:
        return f"{name}: not compared with the control ({trained})."
    if low is None or high is None:
        why = "the differences are all equal" if seeds > 1 else "it takes two seeds"
        return f"{name}: {points(difference)} percentage points from the control in {trained}; no interval: {why}."
    stated = f"{sure(one)}, {trained}"
    side = direction(one)
    if not side:
        nothing = f"{name}: no difference from the control found ({points(difference)} percentage points, {stated})."
        return nothing + _power(one)
    size = points(abs(difference)).removeprefix("+")
    where = "above" if side > 0 else "below"
    return f"{name}: {size} percentage points {where} the control in test accuracy ({stated})."


def _power(one: Mapping[str, Any]) -> str:
    """What a study of so many seeds could have found, and how many it would take: two sentences, or none."""
    least, needed = one.get("detectable"), one.get("seeds_for_a_point")
    if least is None:
        return ""
    many = "more than 100,000" if needed is None else str(needed)
    return (
        f" So many seeds find {points(least).removeprefix('+')} points, if they are there, 4 times in 5; for one point "
        f"it takes {many}."
    )
