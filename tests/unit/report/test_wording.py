"""Numbers and findings in words."""

import pytest

from topotune.report import wording


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.0042, "+0.42"), (-0.001, "−0.10"), (0.00001, "0.00"), (-0.00001, "0.00"), (0.0, "0.00"), (None, "–")],
)
def test_points(difference: float | None, text: str) -> None:
    assert wording.points(difference) == text


def test_values() -> None:
    assert wording.percent(0.98125) == "98.12"
    assert wording.percent(float("nan")) == wording.percent(None) == "–"
    assert wording.plain(True) == "true"
    assert wording.plain(12.6, ".0f") == "13"
    assert wording.plain("12.6", ".0f") == "12.6"
    assert wording.number(0.0123456) == "0.0123"
    assert wording.number(123456) == "123456"


def _confirmed(**changes: object) -> dict[str, object]:
    one = {"topography": "grid2d", "weight": 0.3, "seeds": 5, "mean": 0.98, "std": 0.002}
    return one | {"difference": 0.0042, "low": 0.001, "high": 0.0074} | changes


def test_a_finding_says_its_side() -> None:
    above, below = _confirmed(), _confirmed(difference=-0.0042, low=-0.0074, high=-0.001)
    stated = "in test accuracy (95% interval {}, 5 seeds)."
    assert wording.finding(above) == (
        "grid2d with λ = 0.3: 0.42 percentage points above the control " + stated.format("+0.10 to +0.74")
    )
    assert wording.finding(below) == (
        "grid2d with λ = 0.3: 0.42 percentage points below the control " + stated.format("−0.74 to −0.10")
    )


@pytest.mark.parametrize(("low", "high"), [(-0.001, 0.009), (0.0, 0.009), (-0.001, 0.0)])
def test_an_interval_with_zero_finds_no_difference(low: float, high: float) -> None:
    assert "no difference from the control found" in wording.finding(_confirmed(low=low, high=high))


def test_a_single_seed_concludes_nothing() -> None:
    text = wording.finding(_confirmed(seeds=1, std=None, low=None, high=None))
    assert (
        text
        == "grid2d with λ = 0.3: +0.42 percentage points from the control in 1 seed; no interval: it takes two seeds."
    )
    # equal differences in many seeds have no interval either; the seeds are those that the control has, too
    equal = wording.finding(_confirmed(shared_seeds=4, low=None, high=None))
    assert equal == (
        "grid2d with λ = 0.3: +0.42 percentage points from the control in 4 seeds; no interval: the differences "
        "are all equal."
    )
    assert "95% interval +0.10 to +0.74, 3 seeds)" in wording.finding(_confirmed(shared_seeds=3))
    alone = wording.finding(_confirmed(difference=None, low=None, high=None))
    assert alone == "grid2d with λ = 0.3: not compared with the control (5 seeds)."


def test_sentences() -> None:
    counts = {"complete": 1, "pruned": 0, "failed": 0, "running": 0}
    assert wording.trials_sentence(counts) == "1 trial: 1 complete, 0 pruned, 0 failed."
    assert wording.trials_sentence(counts | {"running": 2}) == (
        "3 trials: 1 complete, 0 pruned, 0 failed, 2 unfinished."
    )
    assert "2 failed, 5 measured before, 1 unf" in wording.trials_sentence({"failed": 2, "running": 1, "repeated": 5})
    assert wording.trials_sentence(dict.fromkeys(counts, 0)) == "No trial has been run yet."
    control = {"id": 3, "topography": "none", "weight": 0.0, "validation_accuracy": 0.975}
    assert wording.best_sentence(control) == (
        "The search's best configuration: the control (no topography), validation accuracy 97.50% (trial 3)."
    )
    assert "no trial is complete" in wording.best_sentence(None)


def test_a_best_trial_that_breaks_the_constraints_says_so() -> None:
    best = {"id": 3, "topography": "none", "weight": 0.0, "validation_accuracy": 0.9}
    assert "constraints" not in wording.best_sentence(best | {"feasible": True})
    assert wording.best_sentence(best | {"feasible": False}).endswith(
        "(trial 3). No complete trial keeps the constraints, nor does this one."
    )


def test_what_a_leaderboard_is_ordered_by() -> None:
    assert wording.board_caption({}, 3) == "The best 3 of the complete trials, by validation accuracy"
    asked = {"metric": ["pruned_accuracy", "parameters"], "constraints": ["parameters <= 2e6"]}
    assert wording.board_caption(asked, 3) == (
        "The best 3 of the complete trials, by pruned accuracy, those that keep the constraints first"
    )


def test_the_headline_counts_and_names_the_best() -> None:
    control = {"topography": "none", "weight": 0.0, "seeds": 3, "mean": 0.975, "std": 0.001, "low": None, "high": None}
    others = [
        {"topography": name, "weight": 0.3, "seeds": 3, "mean": 0.975 + apart, "difference": apart,
         "low": apart - 0.005, "high": apart + 0.005}
        for name, apart in (("grid2d", 0.01), ("circle", 0.0), ("sphere", -0.01), ("nested2d", -0.02))
    ]  # fmt: skip
    assert wording.headline([control, *others]) == (
        "Of 4 topographies, 1 is above, 2 are below and 1 cannot be told apart from the control in test accuracy "
        "(97.50%, 3 seeds); the highest mean is that of grid2d with λ = 0.3, 98.50% (+1.00 points, 95% interval +0.50 "
        "to +1.50)."
    )
    assert wording.headline([control, others[1]]) == (
        "circle with λ = 0.3 cannot be told apart from the control in test accuracy (97.50%, 3 seeds); its mean is "
        "97.50% (0.00 points, 95% interval −0.50 to +0.50)."
    )
    alike = [others[1], others[1] | {"topography": "sphere"}]
    assert wording.headline([control, *alike]).startswith("None of 2 topographies can be told apart from the control")
    assert wording.headline([control, others[1] | {"low": None}]) == ""
    assert wording.headline(others) == ""
    nothing = others[2] | {"low": None, "high": None}  # every difference was the same
    assert wording.headline([control, others[0], nothing]).startswith(
        "Of 2 topographies, 1 is above and 1 cannot be told apart from the control"
    )
    assert wording.headline([control, others[2], others[0] | {"low": None}]).endswith("(+1.00 points, no interval).")
    variants = [one | {"topography": f"grid2d loss={loss}"} for one, loss in zip(others, ("ws", "as"), strict=False)]
    assert wording.headline([control, *variants]).startswith("Of 2 configurations, ")
    corrected = others[0] | {"p_holm": 0.06}
    assert (wording.direction(others[0]), wording.direction(corrected)) == (1, 0)


def test_the_headline_of_pruning() -> None:
    def area(name: str, difference: float | None, criterion: str = "l2") -> dict[str, object]:
        return {"topography": name, "weight": 0.3, "criterion": criterion, "scope": "topographic",
                "difference": difference, "low": difference and difference - 0.03,
                "high": difference and difference + 0.05}  # fmt: skip

    areas = [area("none", None), area("grid2d", 0.04), area("circle", -0.02), area("sphere", 0.5, "random")]
    assert wording.pruning_headline(areas) == (
        "Pruned, grid2d with λ = 0.3 keeps most: its mean accuracy over all proportions is +4.00 points from the "
        "control’s, 95% interval +1.00 to +9.00."
    )
    assert wording.pruning_headline([areas[0], area("grid2d", 0.02), areas[2]]) == (
        "Pruned, nothing is found to keep more than the control (mean accuracy over all proportions: the highest, of "
        "grid2d with λ = 0.3, is +2.00 points from the control’s, 95% interval −1.00 to +7.00)."
    )
    assert wording.pruning_headline([areas[0], area("grid2d", 0.02) | {"low": None}]) == (
        "Pruned, grid2d with λ = 0.3 is not found to keep more than the control (mean accuracy over all proportions: "
        "+2.00 points from the control’s, no interval)."
    )
    assert wording.pruning_headline(areas[:1]) == wording.pruning_headline([]) == ""
