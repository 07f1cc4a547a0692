"""Measures of units in tables: means, what chance gives of them, differences from the control, and similarity."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from topotune.analysis.analyses import ANALYSES
from topotune.files import Row
from topotune.folder import ANALYSIS_COLUMNS
from topotune.followup.effects import summarise_effects
from topotune.report import measures


def _row(topography: str, value: float, seed: int = 0, **more: Any) -> Row:
    about = {
        "topography": topography, "seed": seed, "value": value, "layer": "fc1", "settings": "images=10",
        "analysis": "moran", "measure": "responses", "positions": "grid2d", "weights": f"{topography}{seed}",
    }  # fmt: skip
    return dict.fromkeys(ANALYSIS_COLUMNS) | about | more


def _chance(mean: float, low: float, high: float) -> Row:
    return {"chance_mean": mean, "chance_low": low, "chance_high": high}


def test_chance_of_one_model_is_its_own_and_of_several_narrower() -> None:
    one = _row("grid2d", 0.5, **_chance(0.1, -0.1, 0.4))
    assert measures.chance_of_mean([one]) == pytest.approx((-0.1, 0.4))
    assert measures.chance_of_mean([one] * 4) == pytest.approx((0.1 + 0.05 / 4 - 0.125, 0.1 + 0.05 / 4 + 0.125))
    same = _row("grid2d", 0.5, **_chance(1.0, 1.0, 1.0))  # shuffling changes nothing
    assert measures.chance_of_mean([same, same]) == (1.0, 1.0)
    assert measures.chance_of_mean([one, _row("grid2d", 0.5)]) is None
    assert measures.chance_of_mean([]) is None


@pytest.mark.parametrize("models", [1, 2, 5])
def test_one_mean_in_twenty_is_beyond_chance_by_chance(models: int) -> None:
    """Of skewed statistics too, as counts are."""
    draw = np.random.default_rng(models)
    beyond = []
    for _ in range(1500):
        drawn = draw.gamma(3.0, size=(models, 501))
        rows = [
            _row("grid2d", own[0], **_chance(own[1:].mean(), *np.percentile(own[1:], (2.5, 97.5)))) for own in drawn
        ]
        beyond.append(measures.Beside.of(rows).beyond)
    assert 0.04 < np.mean(beyond) < 0.07


def test_the_table() -> None:
    rows = [
        _row(topography, value + 0.02 * seed, seed, positions=on, **_chance(0.0, -0.1, 0.1))
        for topography, on, value in (
            ("grid2d", "grid2d", 0.5),
            ("none", "grid2d", 0.0),
            ("none", "grid2d-assigned", 0.3),
        )
        for seed in range(3)
    ]
    rows += [
        _row(name, value, analysis="dimensionality", measure="activations", positions=None)
        for name, value in (("grid2d", 4.0), ("none", 4.5))
    ]
    rows += [_row("grid2d", 2 + at, analysis="localisation", measure="distance", at=at) for at in (0.3, 0.5)]
    rows += [_row("grid2d", 0.1, measure="r", analysis="correlation", at=2.0)]  # drawn, not told
    table = measures.table(rows, summarise_effects(rows, "none"))
    chance = "−0.058 to 0.058 *"
    assert table.rows == (
        ("moran: responses", "grid2d", "3", "0.52 ± 0.02", chance, "0.32 ± 0.02", "+0.2"),
        ("dimensionality: activations", "grid2d", "1", "4", "–", "4.5", "−0.5"),
        ("localisation: distance, r ≥ 0.5", "grid2d", "1", "2.5", "–", "–", "–"),
    )
    assert measures.measures_told(rows)[0][0] == "correlation: r"
    assert measures.table([], []).rows == ()


def test_differences_are_from_the_control_on_positions_assigned_to_it() -> None:
    """Paired by seed, over the seeds that both have; learned positions too."""
    rows = [
        _row("grid2d-learned", value, seed, positions="grid2d-learned") for seed, value in enumerate((0.5, 0.7, 0.8))
    ]
    rows += [_row("none", value, seed, positions="grid2d-assigned") for seed, value in enumerate((0.3, 0.2))]
    rows += [_row("none", 0.0, seed) for seed in range(3)]
    (one,) = summarise_effects(rows, "none")
    assert (one["topography"], one["seeds"], one["difference"]) == ("grid2d-learned", 2, pytest.approx(0.35))
    assert (one["low"], one["high"]) == pytest.approx((0.35 - 12.7062 * 0.15, 0.35 + 12.7062 * 0.15), abs=1e-4)
    (line,) = measures.table(rows, [one]).rows
    assert line[1] == "grid2d-learned"
    assert line[-1] == "+0.35 (−1.6 to +2.3)"


def _pairs(order: tuple[str, ...]) -> list[Row]:
    """Models in some order, each pair from the first one's side only, as tables of before have them."""
    values = {
        frozenset(("none0", "none1")): 0.9,
        frozenset(("grid2d0", "none0")): 0.5,
        frozenset(("grid2d0", "none1")): 0.7,
    }
    rows = [_row(name[:-1], 1.0, int(name[-1])) for name in order]
    rows += [
        _row(one[:-1], values[frozenset((one, other))], int(one[-1]), analysis="similarity", measure="rsa", other=other)
        for place, one in enumerate(order)
        for other in order[place + 1 :]
    ]
    return rows


@pytest.mark.parametrize("order", list(permutations(("none0", "none1", "grid2d0"))))
def test_similarity_does_not_depend_on_which_model_came_first(order: tuple[str, ...]) -> None:
    wanted = (("none", "none", "1", "0.9", "–"), ("none", "grid2d", "2", "0.6 ± 0.14", "–"))
    rows = _pairs(order)
    assert measures.similarity_table(rows).rows == wanted
    swapped = (
        {"weights": row["other"], "topography": row["other"][:-1], "other": row["weights"]}
        for row in rows
        if row["other"]
    )
    mirrored = [row | other for row, other in zip([row for row in rows if row["other"]], swapped, strict=True)]
    assert measures.similarity_table(rows + mirrored).rows == wanted


def test_every_analysis_has_words() -> None:
    assert {analysis for analysis, _measure in measures.MEASURES} == set(ANALYSES)
