"""What a study would do, in numbers worked by hand; and what it would take."""

from pathlib import Path
from typing import Any

import pytest

from topotune import plan as plans
from topotune.plan import calibrate, plan, plan_text
from topotune.search.study_file import load_study

SPACES = Path(__file__).parents[2] / "search_spaces"

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
    found = plan(load_study(space))
    # 1,077 training images in batches of 100: 10 whole ones, and 77 left
    assert found["steps_per_epoch"] == 11
    assert (found["trials"], found["workers"], found["epochs_per_trial"]) == (10, 1, 4)
    assert found["search_epochs_at_most"] == 10 * 4
    assert found["search_steps_at_most"] == 10 * 4 * 11
    # three topographies, the control among them, on two seeds each
    assert found["confirmed_models"] == 6
    assert found["confirm_epochs"] == 24
    assert found["pruned_evaluations"] == 18
    # 12 learning rates x 3 numbers of epochs for the control, times 2 weights for each of the two others
    assert found["full_grid_trials"] == 36 + 2 * 72
    assert found["full_grid_epochs"] == 4 * 180
    assert found["searched"] == {
        "topography": "one of none, grid2d, circle",
        "weight": "one of 0.1, 1.0",
        "learning_rate": "0.01 to 0.3, logarithmic",
        "epochs": "2 to 4, linear, whole numbers",
    }
    assert found["fixed"] == {"batch_size": 100}


def test_a_plan_in_words(space: Path) -> None:
    text = plan_text(plan(load_study(space)))
    assert "search:    10 trials of 1 worker(s), at most 4 epochs of 11 steps each" in text
    assert "at most 40 epochs, 440 steps" in text
    assert "confirm:   6 models, 24 epochs" in text
    assert "prune:     18 evaluations" in text
    assert "full grid: 180 trials, 720 epochs (12 values a range); the search takes" in text
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
    found = plan(load_study(space, changes))
    assert found["steps_per_epoch"] == steps
    epochs = 9 if "epochs" in changes else 4
    assert found["search_steps_at_most"] == 10 * epochs * steps


def test_a_study_without_a_topography_is_a_grid_of_the_rest(space: Path) -> None:
    found = plan(load_study(space, {"topography": "none"}))
    assert found["full_grid_trials"] == 36
    assert found["confirmed_models"] == 2


@pytest.mark.parametrize(("trials", "models"), [(1, 2), (2, 4), (3, 6), (4, 6)])
def test_a_topography_without_a_trial_is_not_confirmed(trials: int, models: int, space: Path) -> None:
    found = plan(load_study(space, {"budget.trials": trials}))
    assert found["confirmed_models"] == models
    assert (found["confirm_epochs"], found["pruned_evaluations"]) == (4 * models, 3 * models)


def test_variants_are_counted_as_far_as_there_are_trials(space: Path) -> None:
    """On two seeds each: the control, two topographies at two λ; of a range of λ, one a trial."""
    asked = {"confirm.per": ["weight"]}
    assert plan(load_study(space, asked))["confirmed_models"] == 10
    weights = {"low": 0.1, "high": 1.0}
    assert plan(load_study(space, asked | {"weight": weights, "budget.trials": 7}))["confirmed_models"] == 14


def test_a_study_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("")
    found = plan(load_study(path))
    assert found["full_grid_trials"] == 1
    assert "searched:\n  nothing\n" in plan_text(found)


def test_seeds_and_measures_are_counted(space: Path) -> None:
    found = plan(
        load_study(space, {"budget.replicates": 3, "objective.metric": ["validation_accuracy", "pruned_accuracy"]})
    )
    assert found["search_epochs_at_most"] == 10 * 4 * 3
    text = plan_text(found)
    assert "asked:     validation_accuracy, pruned_accuracy\n" in text
    assert "           pruned_accuracy takes 11 evaluations of the validation part a trial and seed" in text
    assert "at most 4 epochs of 11 steps each on 3 seeds" in text
    assert "full grid: 180 trials, 2,160 epochs on 3 seeds (12 values a range)" in text  # no more than is compared


def test_conditions_in_words(space: Path) -> None:
    momentum = [
        {"low": 0.5, "high": 0.9, "step": 0.1, "when": {"optimizer": ["sgd"]}},
        {"choices": [0.0]},
    ]
    file = load_study(space, {"optimizer": {"choices": ["sgd", "adam"]}, "momentum": momentum})
    assert plan(file)["searched"]["momentum"] == "0.5 to 0.9, in steps of 0.1, where optimizer is sgd; one of 0.0, else"


def test_hours_are_those_of_steps_timed_here(space: Path) -> None:
    file = load_study(space, {"budget.cpus_per_worker": 2, "budget.device_hours": 1, "device": "cpu"})
    found = plan(file)
    timed = calibrate(file, None, found)
    (seconds,) = timed["seconds_per_epoch"].values()
    assert 0 < seconds < 60
    assert list(timed["seconds_per_epoch"]) == ["small_cnn on digits"]
    assert timed["device"] == "CPU"
    hours = timed["search_hours_at_most"]
    assert hours == pytest.approx(seconds * 2 * 40 / 3600, rel=0.5, abs=0.005 * 80 / 3600)  # it was rounded
    # 1 epoch of all, 2 more of a third, 1 more of a ninth
    assert timed["search_hours_with_stopping"] == pytest.approx(hours * (1 + 2 / 3 + 1 / 9) / 4)
    assert timed["confirm_hours"] == pytest.approx(hours * 24 / 40)
    assert timed["trials_in_budget"] == int(1 / (timed["search_hours_with_stopping"] / 10))
    text = plan_text(found, timed)
    assert "CPU-hours, about" in text
    assert "the budget's time is enough for about" in text


@pytest.mark.parametrize(
    ("hours", "device_hours", "trials"), [(0, 0, None), (3, 0, 12), (0, 3, 6), (3, 1, 2), (3, 100, 12)]
)
def test_trials_that_the_time_is_enough_for(hours: float, device_hours: float, trials: int | None, space: Path) -> None:
    file = load_study(space, {"budget.hours": hours, "budget.device_hours": device_hours})
    assert plans._fitting(file, trial=0.5, here=2) == trials


def _steps(samples: int, batch: int) -> int:
    return -(-samples // batch)


SAMPLES = {"cifar10": 45_000, "cifar100": 45_000, "speechcommands": 84_843, "birddcase": 28_552}
EPOCHS = {"cifar10": 100, "cifar100": 100, "birddcase": 36, "speechcommands": 12}


@pytest.mark.parametrize("model", ["resnet18", "vgg16", "densenet121"])
@pytest.mark.parametrize("dataset", SAMPLES)
def test_the_first_papers_studies(dataset: str, model: str) -> None:
    """A file for every data set and network of its tables: the 12 λ, six organisations and the control."""
    found = plan(load_study(SPACES / f"{dataset}_{model}.toml"))
    assert (
        found["searched"]["weight"]
        == "one of 1e-05, 5e-05, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0"
    )
    assert found["steps_per_epoch"] == _steps(SAMPLES[dataset], 256)
    assert (found["trials"], found["epochs_per_trial"]) == (100, EPOCHS[dataset])
    assert found["search_epochs_at_most"] == 100 * EPOCHS[dataset]
    assert found["full_grid_trials"] == 12 * 12 * (1 + 6 * 12)  # 12 learning rates and weight decays
    assert (found["confirmed_models"], found["confirm_epochs"]) == (35, 35 * EPOCHS[dataset])


@pytest.mark.parametrize(("dataset", "samples", "epochs"), [("mnist", 48_000, 10), ("cifar10", 40_000, 30)])
def test_the_second_papers_studies(dataset: str, samples: int, epochs: int) -> None:
    """Two losses x six λ, and the control, ten models each."""
    file = load_study(SPACES / f"{dataset}_losses.toml")
    found = plan(file)
    assert (found["searched"]["loss"], found["searched"]["weight"]) == (
        "one of ws, as",
        "one of 0.1, 0.3, 0.5, 1.0, 2.0, 3.0",
    )
    assert found["full_grid_trials"] == found["trials"] == 13
    assert (found["confirmed_models"], found["confirm_epochs"]) == (130, 130 * epochs)
    assert found["steps_per_epoch"] == _steps(samples, 64)
    text = plan_text(found)
    assert "steps; stopped" not in text
    assert f"full grid: 13 trials, {13 * epochs:,} epochs; the search takes at most 100.0% of it" in text
    # the control is pruned where the others are
    control = file.suggest(lambda _name, dimension: dimension.values[0])  # type: ignore[union-attr]
    assert (control.topography, control.loss, control.layers) == ("none", "ws", "code")


def test_the_embedded_study_and_mnists() -> None:
    for name, trials, steps in (("digits", 24, 34), ("mnist", 60, 750), ("mnist_ws", 8, 750)):
        found = plan(load_study(SPACES / f"{name}.toml"))
        assert (found["trials"], found["steps_per_epoch"]) == (trials, steps)
    assert {path.stem for path in SPACES.glob("*.toml")} == {
        *("digits", "mnist", "mnist_ws", "mnist_losses", "cifar10_losses"),
        *(f"{dataset}_{model}" for dataset in SAMPLES for model in ("resnet18", "vgg16", "densenet121")),
    }


def test_no_promise_where_stopping_cannot_be_foreseen(space: Path) -> None:
    file = load_study(space, {"study.pruner": "median"})
    timed = calibrate(file, None, plan(file))
    assert (timed["search_hours_with_stopping"], timed["trials_in_budget"]) == (None, None)
    assert "with early stopping" not in plan_text(plan(file), timed)
