"""What a study does with configurations that are known: its own points, earlier studies, repetitions; whose weights it
keeps; and when it is over."""

import json
from typing import Any

import pytest

from tests.unit.search.conftest import Open, ask, complete, train
from topotune.errors import InputError
from topotune.files import read_csv
from topotune.search import table
from topotune.search.study import Ending, Study

FINITE = """
[study]
name = "finite"
sampler = "grid"
[fixed]
epochs = 1
[scientific]
topography = {choices = ["none", "line"]}
weight = {choices = [0.1, 1.0]}
[nuisance]
momentum = {choices = [0.5, 0.9]}
"""

SPACE = """
[study]
name = "one"
[fixed]
epochs = 1
[nuisance]
momentum = {low = 0.0, high = 0.9}
warmup = {low = 0.0, high = 0.5, step = 0.1}
"""


def _states(study: Study) -> list[str]:
    return [row["state"] for row in study.rows()]


@pytest.mark.parametrize("sampler", ["grid", "tpe", "random"])
def test_a_finite_space_is_tried_once_and_the_study_is_over(sampler: str, open_study: Open) -> None:
    study = open_study(FINITE, study__sampler=sampler)
    hashes = []
    while asked := study.ask():
        train(study, asked, [0.5])
        study.end(asked.number, "complete")
        hashes.append(asked.config.hash)
    assert len(hashes) == len(set(hashes)) == 2 + 4
    assert study.over == "all 6 configurations that there are have been tried"
    assert set(_states(study)) <= {"complete", "repeated"}
    assert open_study(FINITE, study__sampler=sampler).ask() is None


def test_a_repetition_is_told_what_is_known_and_takes_no_budget(open_study: Open) -> None:
    study = open_study(FINITE, study__sampler="random", budget__trials=6)
    while asked := study.ask():
        train(study, asked, [0.25])
        study.end(asked.number, "complete")
    repeated = [row for row in study.rows() if row["state"] == "repeated"]
    assert repeated, "a random sampler repeats itself in a space of six"
    for row in repeated:
        first = study.rows()[int(row["reason"].removeprefix("as trial "))]
        assert (row["config_hash"], row["validation_accuracy"]) == (first["config_hash"], 0.25)
        assert row["rank"] is None
    assert study.asked == 6


def test_a_repetition_of_a_running_trial_waits_for_it_also_over_a_killed_driver(open_study: Open) -> None:
    study = open_study(FINITE, study__sampler="random")
    running = list(iter(study.ask, None))
    assert len(running) == 6
    waiting = _states(study).count("running") - 6
    assert waiting > 0
    study = open_study(FINITE, study__sampler="random")
    again = [ask(study) for _ in range(6)]
    assert [one.number for one in again] == [one.number for one in running]
    for one in again:
        train(study, one, [0.5])
        if one.number == running[0].number:
            study.end(one.number, "failed", Ending("training diverged"))
        else:
            study.end(one.number, "complete")
    assert _states(study).count("running") == 0
    assert study.ask() is None
    states = {row["id"]: row["state"] for row in study.rows()}
    assert states[running[0].number] == "failed"
    assert list(states.values()).count("repeated") == waiting


def test_points_of_the_file_come_first_and_once(open_study: Open) -> None:
    points = "[[enqueue]]\nmomentum = 0.25\nwarmup = 0.2\n[[enqueue]]\nwarmup = 0.5\n"
    study = open_study(SPACE + points)
    first, second = ask(study), ask(study)
    assert (first.config.momentum, first.config.warmup, second.config.warmup) == (0.25, 0.2, 0.5)
    study = open_study(SPACE + points + "[[enqueue]]\nwarmup = 0.1\n")  # one more, later
    asked = [ask(study) for _ in range(5)]
    assert [one.resumed for one in asked] == [True, True, False, False, False]
    assert asked[2].config.warmup == 0.1
    assert sum(one.config.momentum == 0.25 for one in asked) == 1


def test_a_point_settles_what_its_setting_depends_on(open_study: Open) -> None:
    space = """
[study]
name = "cases"
[fixed]
epochs = 1
[nuisance]
optimizer = {choices = ["adam", "sgd"]}
momentum = {low = 0.0, high = 0.9, when = {optimizer = "sgd"}}
[[enqueue]]
momentum = 0.125
"""
    asked = ask(open_study(space))
    assert (asked.config.optimizer, asked.config.momentum) == ("sgd", 0.125)


def test_an_earlier_study_is_taken_over_where_the_spaces_agree(open_study: Open) -> None:
    earlier = open_study(SPACE, study__name="earlier")
    old = [complete(earlier, accuracy) for accuracy in (0.4, 0.8, 0.6)]
    pruned = ask(earlier)
    train(earlier, pruned, [0.1])
    earlier.end(pruned.number, "pruned")
    failed = ask(earlier)
    earlier.end(failed.number, "failed", Ending("no more"))
    highest = sorted(one.config.momentum for one in [*old, pruned])[-2]
    narrow = SPACE.replace("high = 0.9", f"high = {highest}")
    study = open_study(narrow, study__warm_start=["earlier"], budget__trials=2)
    (note,) = study.notes
    assert note == (
        "warm start: 3 trials of 'earlier' taken over; 1 left out: momentum outside of what is searched now"
    )
    rows = {row["source"]: row for row in study.rows()}
    taken = [one for one in [*old, pruned] if one.config.momentum <= highest]
    assert set(rows) == {f"earlier/{one.number}" for one in taken}
    for one in taken:
        row = rows[f"earlier/{one.number}"]
        kept = study.folder.trial(row["id"]) / "model.safetensors"
        assert kept.exists() == (row["state"] == "complete") == (one.number != pruned.number)
        assert row["config_hash"] == one.config.hash
    assert study.asked == 0  # they take no budget
    assert ask(study).number == 3
    assert open_study(narrow, study__warm_start=["earlier"], budget__trials=2).notes == []  # told once


def test_the_curves_of_all_seeds_are_taken_over(open_study: Open) -> None:
    old = complete(open_study(SPACE, study__name="earlier", budget__replicates=2), 0.5, 0.7)
    study = open_study(SPACE, study__warm_start=["earlier"], budget__replicates=2)
    (row,) = study.rows()
    curves = [read_csv(path / "metrics.csv") for path in study.folder.replicates(row["id"], 2)]
    assert [[epoch["validation_accuracy"] for epoch in one] for one in curves] == [[0.5], [0.7]]
    assert (row["validation_accuracy"], row["config_hash"]) == (0.6, old.config.hash)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"epochs": 2}, "another epochs"),
        ({"model": "mnist_cnn", "epochs": 3}, "another model, epochs"),
        ({"objective__metric": ["validation_accuracy", "seconds"]}, "it measures something else"),
        ({"budget__replicates": 2}, "it measures something else"),
    ],
)
def test_what_an_earlier_study_measured_otherwise_is_left_out(
    changes: dict[str, Any], why: str, open_study: Open
) -> None:
    complete(open_study(SPACE, study__name="earlier"), 0.5)
    study = open_study(SPACE, study__warm_start=["earlier"], **changes)
    assert study.notes == [f"warm start: 0 trials of 'earlier' taken over; 1 left out: {why}"]
    assert study.rows() == []


def test_an_earlier_study_of_the_same_measures_is_taken_over_into_other_objectives(open_study: Open) -> None:
    constrained = {"objective__constraints": ["parameters <= 1000"]}
    complete(open_study(SPACE, study__name="earlier", **constrained), 0.5, measured={"parameters": 7.0})
    study = open_study(SPACE, study__warm_start=["earlier"], objective__metric=["parameters", "validation_accuracy"])
    assert [one.values for one in study._study.get_trials()] == [[7.0, 0.5]]


def test_a_configuration_that_an_earlier_study_measured_is_not_measured_again(open_study: Open) -> None:
    earlier = open_study(FINITE, study__name="earlier", budget__trials=4)
    while asked := earlier.ask():
        train(earlier, asked, [0.5])
        earlier.end(asked.number, "complete")
    study = open_study(FINITE, study__warm_start=["earlier"])
    hashes = {row["config_hash"] for row in study.rows()}
    while asked := study.ask():
        assert asked.config.hash not in hashes
        hashes.add(asked.config.hash)
    assert len(hashes) == 6
    assert study.asked == 2


def test_wrong_sources(open_study: Open) -> None:
    with pytest.raises(InputError, match="no study 'nowhere'"):
        open_study(SPACE, study__warm_start=["nowhere"])
    open_study(SPACE)
    with pytest.raises(InputError, match="warm_start = 'one' is the study itself"):
        open_study(SPACE, study__warm_start=["one"])


def test_the_weights_of_the_best_are_kept(open_study: Open) -> None:
    space = FINITE.replace('sampler = "grid"', "").replace("momentum = {choices = [0.5, 0.9]}",
                                                           "momentum = {low = 0.0, high = 0.9}")  # fmt: skip
    study = open_study(space, budget__keep=2, budget__trials=8)
    accuracies = (0.5, 0.1, 0.7, 0.6, 0.9, 0.2, 0.3, 0.8)
    topographies = [complete(study, one).config.topography for one in accuracies]
    assert topographies[:2] == ["none", "line"]

    def kept() -> set[int]:
        return {number for number in range(8) if (study.folder.trial(number) / "model.safetensors").exists()}

    best = {max((a, n) for n, (a, t) in enumerate(zip(accuracies, topographies, strict=True)) if t == name)[1]
            for name in ("none", "line")}  # fmt: skip
    assert kept() == {4, 7} | best
    study = open_study(space, budget__keep=1, budget__trials=8)
    assert kept() == {4} | best


def test_no_progress_ends_a_study(open_study: Open) -> None:
    study = open_study(SPACE, budget__patience=2)
    for accuracy in (0.5, 0.4, 0.6):
        assert study.over is None
        complete(study, accuracy)
    complete(study, 0.6)  # as good is no progress
    assert study.over is None
    complete(study, 0.1)
    assert study.over == "2 trials in a row brought no progress"
    assert open_study(SPACE, budget__patience=2).over == "2 trials in a row brought no progress"
    assert open_study(SPACE, budget__patience=3).over is None


def test_devices_time_ends_a_study(open_study: Open) -> None:
    study = open_study(SPACE, budget__device_hours=1.0)
    asked, paused = ask(study), ask(study)
    train(study, asked, [0.5])
    study.end(asked.number, "complete", Ending(devices=7200))  # 0.5 s on each
    study.budget.device_seconds += 3600
    assert study.budget.out_of_time() == "the 1 device-hours of its budget are spent"
    study.pause(paused.number)
    study = open_study(SPACE, budget__device_hours=1.0)
    assert study.over == "the 1 device-hours of its budget are spent"
    assert study.ask() is None
    study = open_study(SPACE, budget__device_hours=2.0)  # more of it, and the paused one goes on
    assert ask(study).number == paused.number


def test_the_clock_runs_on_over_restarts(open_study: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("topotune.search.budget.time.monotonic", lambda: now[0])
    study = open_study(SPACE, budget__hours=1.0)
    complete(study, 0.5)
    now[0] += 2000
    complete(study, 0.5)
    now[0] += 1e6  # nobody worked on it
    study = open_study(SPACE, budget__hours=1.0)
    assert study.over is None
    now[0] += 1600
    assert study.over == "the 1 hours of its budget are spent"


def test_the_identity_of_a_trial_is_as_it_was_when_it_was_asked(open_study: Open) -> None:
    """Settings that were renamed or dropped since do not keep a study from being read."""
    study = open_study(SPACE)
    complete(study, 0.5)
    journal = study.folder.journal
    lines = journal.read_text(encoding="utf-8")
    assert json.loads(lines.splitlines()[0])
    journal.write_text(lines.replace('"accumulate": 1', '"chunks": 1'), encoding="utf-8")
    row = open_study(SPACE).rows()[0]
    assert (row["state"], row["rank"]) == ("complete", 1)


def test_a_repetition_keeps_the_constraints_no_better(open_study: Open) -> None:
    study = open_study(FINITE, study__sampler="random", objective__constraints=["validation_accuracy >= 90"])
    while asked := study.ask():
        train(study, asked, [0.5])
        study.end(asked.number, "complete")
    assert "repeated" in _states(study)
    assert all(trial.constraints["validation_accuracy >= 90"] > 0 for trial in study._study.get_trials())


def test_the_epochs_of_killed_drivers_are_spent(open_study: Open) -> None:
    space = SPACE.replace("epochs = 1", "epochs = 4")
    study = open_study(space, budget__device_hours=1.0)
    study.devices = 3600.0
    asked = ask(study)
    train(study, asked, [0.5])  # half a second on each
    study.spend(asked.number, 0, {"epoch": 1, "seconds": 0.5})
    study.spend(asked.number, 0, {"epoch": 1, "seconds": 0.5})  # told again
    assert study.budget.device_seconds == 1800
    study = open_study(space, budget__device_hours=1.0)
    assert study.budget.device_seconds == 1800
    again = ask(study)
    study.devices = 3600.0
    study.spend(again.number, 0, {"epoch": 1, "seconds": 0.5})
    assert study.budget.device_seconds == 1800
    study.spend(again.number, 0, {"epoch": 2, "seconds": 0.5})
    assert study.over is not None


def test_settings_that_do_not_go_together_fail_and_the_search_goes_on(
    open_study: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(SPACE)
    suggest, calls = type(study.file).suggest, []

    def refuse(self: Any, choose: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise InputError("these do not go together")
        return suggest(self, choose)

    monkeypatch.setattr(type(study.file), "suggest", refuse)
    assert ask(study).number == 1
    (row, _running) = study.rows()
    assert (row["state"], row["reason"]) == ("failed", "these do not go together")
    monkeypatch.undo()
    assert ask(open_study(SPACE)).number == 1


def test_what_a_machine_failed_is_tried_again_and_what_diverged_is_not(open_study: Open) -> None:
    study = open_study(FINITE)
    lost, diverged = ask(study), ask(study)
    study.end(lost.number, "failed", Ending("its process died"))
    study.end(diverged.number, "failed", Ending("training diverged: a loss is not finite in epoch 1"))
    study = open_study(FINITE, study__sampler="grid")
    hashes = []
    while asked := study.ask():
        train(study, asked, [0.5])
        study.end(asked.number, "complete")
        hashes.append(asked.config.hash)
    assert diverged.config.hash not in hashes
    assert len(hashes) == len(set(hashes)) == 4 + (lost.config.hash in hashes)


def test_a_point_is_no_controls_and_settles_conditions_of_conditions(open_study: Open) -> None:
    space = """
[study]
name = "deep"
[fixed]
epochs = 1
[scientific]
topography = {choices = ["none", "line"]}
weight = [{low = 0.1, high = 1.0, when = {distance = "l1"}}, {choices = [5.0]}]
distance = [{choices = ["l1", "euclidean"], when = {optimizer = "sgd"}}, {choices = ["euclidean"]}]
[nuisance]
optimizer = {choices = ["adam", "sgd"]}
[[enqueue]]
weight = 0.5
"""
    asked = ask(open_study(space))
    assert (asked.config.topography, asked.config.weight) == ("line", 0.5)
    assert (asked.config.distance, asked.config.optimizer) == ("l1", "sgd")


def test_a_stepped_number_is_spelled_in_one_way(open_study: Open) -> None:
    space = SPACE.replace("low = 0.0, high = 0.5, step = 0.1", "low = 0.1, high = 0.5, step = 0.1")
    study = open_study(space + "[[enqueue]]\nwarmup = 0.3\n")
    assert ask(study).config.warmup == 0.3
    found = {ask(study).config.warmup for _ in range(30)}
    assert found <= {0.1, 0.2, 0.3, 0.4, 0.5}


def test_as_good_as_the_best_is_no_progress(open_study: Open) -> None:
    study = open_study(SPACE, budget__patience=3, budget__trials=20)
    for _ in range(4):
        complete(study, 0.9)
    assert study.over == "3 trials in a row brought no progress"


def test_the_next_trial_of_a_topography_takes_the_place_of_a_first_one_that_failed(open_study: Open) -> None:
    study = open_study(SPACE)  # of the control only
    study.end(ask(study).number, "failed", Ending(reason="training diverged"))
    ask(study)
    ask(study)
    assert [table.KEPT in one.user_attrs for one in study._study.get_trials()] == [True, True, False]
    again = open_study(SPACE)  # by another driver
    assert again._kept == {"none"}


def test_what_two_earlier_studies_measured_is_taken_over_once(open_study: Open) -> None:
    for name in ("one-earlier", "another"):
        complete(open_study(SPACE, study__name=name), 0.5)
    study = open_study(SPACE, study__warm_start=["one-earlier", "another"])
    assert len(study.rows()) == 1
    assert study.notes[1] == "warm start: 0 trials of 'another' taken over; 1 left out: measured before"


def test_a_number_is_the_same_with_and_without_a_point(open_study: Open) -> None:
    for percentile in (25, 25.0):
        open_study(SPACE, study__pruner="percentile", pruner__percentile=percentile)
