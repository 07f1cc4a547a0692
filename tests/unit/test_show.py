"""What a person reads at the terminal, in numbers worked by hand."""

from pathlib import Path
from typing import Any

import pytest

from topotune import show
from topotune.files import write_csv, write_json, write_text
from topotune.folder import StudyFolder
from topotune.search.study_file import load_study

SPACE = """
[fixed]
batch_size = 100
[scientific]
topography = {choices = ["none", "grid2d", "circle"]}
weight = {choices = [0.1, 1.0]}
[nuisance]
learning_rate = {low = 0.01, high = 0.3, log = true}
epochs = {low = 2, high = 4}
[budget]
trials = 10
[confirm]
seeds = 2
[prune]
proportions = [0, 0.5, 1]
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    return path


def test_a_plan_by_hand(space: Path) -> None:
    plan = show.plan(load_study(space))
    # 1,077 training images in batches of 100: 10 whole ones, and 77 left
    assert plan["steps_per_epoch"] == 11
    assert (plan["trials"], plan["workers"], plan["epochs_per_trial"]) == (10, 1, 4)
    assert plan["search_epochs_at_most"] == 10 * 4
    assert plan["search_steps_at_most"] == 10 * 4 * 11
    # three topographies, the control among them, on two seeds each
    assert plan["confirmed_models"] == 6
    assert plan["confirm_epochs"] == 24
    assert plan["pruned_evaluations"] == 18
    # 12 learning rates x 3 numbers of epochs for the control, times 2 weights for each of the two others
    assert plan["full_grid_trials"] == 36 + 2 * 72
    assert plan["full_grid_epochs"] == 4 * 180
    assert plan["searched"] == {
        "topography": "one of none, grid2d, circle",
        "weight": "one of 0.1, 1.0",
        "learning_rate": "0.01 to 0.3, logarithmic",
        "epochs": "2 to 4, linear, whole numbers",
    }
    assert plan["fixed"] == {"batch_size": 100}


def test_a_plan_in_words(space: Path) -> None:
    text = show.plan_text(show.plan(load_study(space)))
    assert "search:    10 trials of 1 worker(s), at most 4 epochs of 11 steps each" in text
    assert "at most 40 epochs, 440 steps" in text
    assert "confirm:   6 models, 24 epochs" in text
    assert "prune:     18 evaluations" in text
    assert "full grid: 180 trials, 720 epochs on one seed (12 values a range)" in text
    assert "at most 5.6% of it" in text  # 40 / 720


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"batch_size": 1077}, 1),
        ({"batch_size": 1076}, 1),  # the one that is left makes no batch
        ({"batch_size": 1075}, 2),
        ({"workers": 2, "batch_size": 1074}, 1),  # three left for two workers
        ({"batch_size": {"choices": [100, 538]}}, 11),  # at most: of the smallest batches
        ({"batch_size": {"low": 50, "high": 500}}, 22),
        ({"dataset": {"choices": ["digits", "mnist"]}, "model": "mnist_cnn"}, 480),  # at most: of the largest data
        ({"dataset": {"choices": ["cifar10", "digits"]}, "model": "mnist_cnn"}, 450),
        ({"epochs": {"low": 2, "high": 9}}, 11),
    ],
)
def test_steps_are_the_most_there_can_be(changes: dict[str, Any], steps: int, space: Path) -> None:
    plan = show.plan(load_study(space, changes))
    assert plan["steps_per_epoch"] == steps
    epochs = 9 if "epochs" in changes else 4
    assert plan["search_steps_at_most"] == 10 * epochs * steps


def test_a_study_without_a_topography_is_a_grid_of_the_rest(space: Path) -> None:
    plan = show.plan(load_study(space, {"topography": "none"}))
    assert plan["full_grid_trials"] == 36
    assert plan["confirmed_models"] == 2


@pytest.mark.parametrize(("trials", "models"), [(1, 2), (2, 4), (3, 6), (4, 6)])
def test_a_topography_without_a_trial_is_not_confirmed(trials: int, models: int, space: Path) -> None:
    plan = show.plan(load_study(space, {"budget.trials": trials}))
    assert plan["confirmed_models"] == models
    assert (plan["confirm_epochs"], plan["pruned_evaluations"]) == (4 * models, 3 * models)


def test_a_study_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("")
    plan = show.plan(load_study(path))
    assert plan["full_grid_trials"] == 1
    assert "searched:\n  nothing\n" in show.plan_text(plan)


def _trial(number: int, state: str, accuracy: float | None) -> dict[str, Any]:
    return {
        "id": number, "state": state, "config_hash": "12345678", "topography": "grid2d", "weight": 0.5,
        "validation_accuracy": accuracy, "epochs": 3, "seconds": 1.5, "reason": None,
    }  # fmt: skip


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Two studies: one with trials and a summary, one that has not begun."""
    root = tmp_path / "studies"
    done = StudyFolder(root / "done")
    write_text(done.study_file, "[study]\nname = 'done'\n")
    rows = [
        _trial(0, "complete", 0.8),
        _trial(1, "pruned", 0.99),
        _trial(2, "complete", 0.9),
        _trial(3, "failed", None),
    ]
    write_csv(done.trials_table, list(rows[0]), rows)
    write_json(done.summary, {"study": "done", "study_hash": "ab", "confirm": []})
    write_text(StudyFolder(root / "new").study_file, "[study]\nname = 'new'\n")
    return root


def test_the_list_of_studies(studies: Path) -> None:
    done, new = show.studies(studies)
    assert (done["study"], done["trials"], done["complete"], done["pruned"], done["failed"]) == ("done", 4, 2, 1, 1)
    assert (done["best_validation_accuracy"], done["confirmed"], done["report"]) == (0.9, 0, False)
    assert (new["study"], new["trials"]) == ("new", 0)
    lines = show.studies_text(studies).splitlines()
    assert [line.split()[0] for line in lines] == ["study", "done", "new"]
    assert lines[1].split() == ["done", "4", "2", "1", "1", "0", "90.00", "0", "no"]
    assert len(lines) == 3
    assert show.studies_text(studies / "done") == f"no studies in {studies / 'done'}"


def test_columns_line_up() -> None:
    assert show.columns([("a", "bb", "c"), ("dddd", "", "λ")]) == ["a     bb  c", "dddd      λ"]
