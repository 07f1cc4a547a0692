"""Objectives and constraints: what can be said, and what it means."""

import pytest

from topotune.errors import InputError
from topotune.search.objectives import OBJECTIVES, constraint


@pytest.mark.parametrize(
    ("words", "values", "control", "excess"),
    [
        ("validation_accuracy >= control - 1.0", {"validation_accuracy": 0.95}, {"validation_accuracy": 0.97}, 1.0),
        ("validation_accuracy >= control - 1", {"validation_accuracy": 0.965}, {"validation_accuracy": 0.97}, -0.5),
        ("validation_accuracy>=control+0.5", {"validation_accuracy": 0.97}, {"validation_accuracy": 0.97}, 0.5),
        ("validation_accuracy >= control", {"validation_accuracy": 0.96}, {"validation_accuracy": 0.97}, 1.0),
        ("validation_accuracy >= control - 1.0", {"validation_accuracy": 0.95}, None, None),
        ("validation_accuracy >= 96", {"validation_accuracy": 0.95}, None, 1.0),
        ("parameters <= 2e6", {"parameters": 2_500_000.0}, None, 500_000.0),
        ("parameters <= control + 10", {"parameters": 100.0}, {"parameters": 95.0}, -5.0),
        ("seconds <= 60", {}, None, None),
    ],
)
def test_by_how_much_a_constraint_is_violated(
    words: str, values: dict[str, float], control: dict[str, float] | None, excess: float | None
) -> None:
    found = constraint(words).excess(values, control)
    assert found == (None if excess is None else pytest.approx(excess))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("validation_accuracy > 3", "is no constraint; write METRIC >= NUMBER"),
        ("validation_accuracy >= ", "is no constraint"),
        ("validation_accuracy >= control 1.0", "'1.0' must be a number, \\+ or - before it"),
        ("validation_accuracy >= control - 1.0.0", "must be a number"),
        ("validation_accuracy >= best - 1.0", "is no constraint"),
        ("accuracy >= 90", "unknown metric 'accuracy'; choose from validation_accuracy, pruned_accuracy"),
        ("parameters <= 1e999", "must be a number"),
    ],
)
def test_what_is_no_constraint(words: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        constraint(words)


def test_directions() -> None:
    assert {one.direction for one in OBJECTIVES.values()} == {"maximize", "minimize"}
