"""Several objectives, constraints and seeds: what Optuna is told, and who is the best."""

import pytest
from optuna.trial import TrialState

from tests.unit.search.conftest import Open, ask, complete, train
from topotune.errors import InputError
from topotune.search.study import Ending

SPACE = """
[study]
name = "several"
[fixed]
epochs = 4
[scientific]
topography = {choices = ["none", "line"]}
weight = {low = 0.1, high = 1.0}
[nuisance]
momentum = {low = 0.0, high = 0.9}
"""
TWO = ["validation_accuracy", "parameters"]


def test_several_objectives(open_study: Open) -> None:
    study = open_study(SPACE, objective__metric=TWO)
    for accuracy, size in ((0.9, 100.0), (0.8, 50.0), (0.7, 80.0), (0.95, 200.0)):
        complete(study, accuracy, measured={"parameters": size})
    rows = study.write_table()
    assert [(row["rank"], row["pareto"]) for row in rows] == [(2, True), (3, True), (4, False), (1, True)]
    assert [row["parameters"] for row in rows] == [100.0, 50.0, 80.0, 200.0]
    assert [one.values for one in study._study.get_trials()][1] == [0.8, 50.0]
    assert study.file.option("study", "pruner") == "none"
    asked = ask(study)
    train(study, asked, [0.1, 0.2])
    assert not study.should_prune(asked.number)
    again = open_study(SPACE, objective__metric=TWO)
    assert again.rows()[:4] == rows
    assert ask(again).resumed
    assert not again.report(asked.number, 2, 0.2)  # no news


def test_one_objective_in_a_list_is_one_objective(open_study: Open) -> None:
    study = open_study(SPACE, objective__metric=["validation_accuracy"])
    assert study.file.option("objective", "metric") == "validation_accuracy"
    assert study.file.option("study", "pruner") == "successive_halving"


def test_progress_with_several_objectives_is_a_new_member_of_the_front(open_study: Open) -> None:
    study = open_study(SPACE, objective__metric=TWO, budget__patience=1)
    complete(study, 0.9, measured={"parameters": 100.0})
    complete(study, 0.8, measured={"parameters": 50.0})
    assert study.over is None
    complete(study, 0.7, measured={"parameters": 80.0})
    assert study.over == "1 trials in a row brought no progress"


def test_constraints_are_told_and_rank(open_study: Open) -> None:
    study = open_study(SPACE, objective__constraints=["validation_accuracy >= control - 5", "seconds <= 1.0"])
    control, far, long, near = (
        complete(study, 0.9), complete(study, 0.8), ask(study), None,
    )  # fmt: skip
    train(study, long, [0.93, 0.9, 0.9])
    study.end(long.number, "complete")
    near = complete(study, 0.92)
    rows = study.write_table()
    assert [row["feasible"] for row in rows] == [True, False, False, True]
    assert [row["rank"] for row in rows] == [2, 4, 3, 1]
    told = [trial.constraints for trial in study._study.get_trials() if trial.state == TrialState.COMPLETE]
    assert told[far.number]["validation_accuracy >= control - 5"] == pytest.approx(5.0)
    assert told[long.number]["seconds <= 1.0"] == pytest.approx(0.5)
    assert all(value <= 0 for number in (control.number, near.number) for value in told[number].values())


def test_only_what_keeps_the_constraints_is_progress(open_study: Open) -> None:
    study = open_study(SPACE, objective__constraints=["parameters <= 10"], budget__patience=2)
    complete(study, 0.9, measured={"parameters": 11.0})
    complete(study, 0.2, measured={"parameters": 9.0})
    complete(study, 0.5, measured={"parameters": 9.0})
    assert study.over is None


def test_a_metric_that_only_a_constraint_needs_is_measured(open_study: Open) -> None:
    study = open_study(SPACE, objective__constraints=["parameters <= 10"])
    assert study.file.measures == ("validation_accuracy", "parameters")
    complete(study, 0.9, measured={"parameters": 11.0})
    assert [row["feasible"] for row in study.rows() if row["state"] == "complete"] == [False]


def test_the_mean_over_seeds_is_optimised(open_study: Open) -> None:
    study = open_study(SPACE, budget__replicates=3)
    asked = complete(study, 0.9, 0.8, 0.7)
    (row,) = [row for row in study.rows() if row["id"] == asked.number]
    assert row["validation_accuracy"] == pytest.approx(0.8)
    assert row["standard_error"] == pytest.approx(0.1 / 3**0.5)
    assert (row["epochs"], row["seconds"]) == (3, 1.5)
    trial = study._study.get_trials()[0]
    assert trial.values == [pytest.approx(0.8)]
    assert trial.intermediate_values == {1: 0.9, 5: 0.8, 6: 0.7}  # epochs of the first seed, then a seed each
    (study.folder.trial(0) / "seed-1" / "last").mkdir()
    assert len(study.folder.replicates(0, 3)) == 3


def test_a_poor_configuration_is_given_up_after_some_seeds(open_study: Open) -> None:
    study = open_study(SPACE, budget__replicates=4)
    assert not study.hopeless(ask(study).number, [0.1, 0.1])  # nothing to compare with
    study = open_study(SPACE, budget__replicates=4)
    for _ in range(2):  # the first of each topography
        asked = ask(study)
        train(study, asked, [0.9], [0.9], [0.8], [0.9])
        assert not study.hopeless(asked.number, [0.1, 0.1, 0.1])
        study.end(asked.number, "complete")
    asked = ask(study)
    assert not study.hopeless(asked.number, [0.1])  # one seed says nothing
    assert study.hopeless(asked.number, [0.8, 0.8])
    assert not study.hopeless(asked.number, [0.8, 0.95])
    assert not study.hopeless(asked.number, [0.9, 0.9])  # equal
    train(study, asked, [0.8], [0.8])
    study.end(asked.number, "pruned", Ending())
    row = study.rows()[asked.number]
    assert (row["state"], row["validation_accuracy"], row["epochs"]) == ("pruned", 0.8, 2)


def test_nothing_is_given_up_without_a_pruner(open_study: Open) -> None:
    study = open_study(SPACE, budget__replicates=2, study__pruner="none")
    for _ in range(3):
        complete(study, 0.9, 0.9)
    assert not study.hopeless(ask(study).number, [0.1, 0.1])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"objective__metric": []}, "metric = [] must be one of validation_accuracy, pruned_accuracy"),
        ({"objective__metric": ["seconds", "seconds"]}, "must be one of validation_accuracy"),
        ({"objective__metric": "accuracy"}, "[objective] metric = 'accuracy' must be one of"),
        ({"objective__constraints": "seconds <= 3"}, "constraints = 'seconds <= 3' must be a list of texts like"),
        ({"objective__constraints": ["seconds < 3"]}, "[objective] constraints: 'seconds < 3' is no constraint"),
        ({"objective__metric": "parameters", "study__pruner": "median"}, "pruner = 'median' stops trials by their val"),
        ({"objective__metric": TWO, "study__sampler": "cmaes"}, "sampler = 'cmaes' knows one objective only"),
        ({"study__sampler": "grid"}, "sampler = 'grid' tries every configuration, but weight is a range without end"),
        ({"budget__replicates": 0}, "[budget] replicates = 0 must be an integer >= 1"),
        ({"budget__keep": 0}, "[budget] keep = 0 must be"),
        ({"budget__hours": -1}, "[budget] hours = -1 must be a number >= 0"),
        ({"study__warm_start": "x"}, "warm_start = 'x' must be a list of earlier studies"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, object], reason: str, open_study: Open) -> None:
    with pytest.raises(InputError) as error:
        open_study(SPACE, **changes)
    assert reason in str(error.value)
