"""Samplers and pruners by name: each one works in a study, with its options."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.search.conftest import Open, complete
from topotune.errors import InputError
from topotune.search.options import PRUNERS, SAMPLERS
from topotune.search.scheduler import PRUNERS as MADE_PRUNERS
from topotune.search.scheduler import SAMPLERS as MADE_SAMPLERS
from topotune.search.scheduler import make_pruner, make_sampler
from topotune.search.study_file import load_study

SPACE = """
[study]
name = "a"
[fixed]
epochs = 9
[nuisance]
momentum = {low = 0.0, high = 0.9, step = 0.1}
learning_rate = {choices = [0.01, 0.1]}
"""


def test_the_names_are_those_of_the_study_file() -> None:
    assert tuple(MADE_SAMPLERS) == SAMPLERS
    assert tuple(MADE_PRUNERS) == PRUNERS


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("several", [False, True])
def test_every_sampler_suggests(sampler: str, several: bool, open_study: Open) -> None:
    if several and MADE_SAMPLERS[sampler].single:
        pytest.skip("one objective only")
    metric = ["validation_accuracy", "parameters"] if several else "validation_accuracy"
    study = open_study(SPACE, study__sampler=sampler, objective__metric=metric, budget__trials=11)
    for step in range(11):
        complete(study, 0.5 + step / 100, measured={"parameters": 3.0} if several else None)
    assert study.over == "11 of 11 trials have begun"


NEEDED: dict[str, dict[str, Any]] = {
    "percentile": {"percentile": 25.0}, "patient": {"patience": 2}, "threshold": {"lower": 0.2},
}  # fmt: skip


@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner_prunes(pruner: str, open_study: Open) -> None:
    options = {f"pruner__{name}": value for name, value in NEEDED.get(pruner, {}).items()}
    study = open_study(SPACE, study__pruner=pruner, budget__trials=20, budget__min_epochs=2, **options)
    for _ in range(8):
        asked = study.ask()
        assert asked is not None
        for epoch in range(1, 10):
            study.report(asked.number, epoch, 0.9)
            study.should_prune(asked.number)
        folder = study.folder.trial(asked.number)
        folder.mkdir(parents=True)
        rows = "".join(f"{epoch},0.9,1.0\n" for epoch in range(1, 10))
        (folder / "metrics.csv").write_text(f"epoch,validation_accuracy,seconds\n{rows}")
        study.end(asked.number, "complete")
    asked = study.ask()
    assert asked is not None
    stops = []
    for epoch in range(1, 10):
        study.report(asked.number, epoch, 0.19 - epoch / 100)
        stops.append(study.should_prune(asked.number))
    assert any(stops) == (pruner != "none")
    assert not stops[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[sampler]\nstartup = 3", "[sampler]: unknown option of tpe 'startup'; choose from"),
        ("[sampler]\nn_startup_trials = 'x'", "[sampler] n_startup_trials = 'x' must be: int"),
        ("[sampler]\nn_startup_trials = true", "[sampler] n_startup_trials = True must be: int"),
        ("[sampler]\nseed = 3", "unknown option of tpe 'seed'"),
        (
            "[pruner]\npercentile = 3",
            "[pruner]: unknown option of successive_halving 'percentile'; choose from min_res",
        ),
        ("[pruner]\nmin_resource = 0", "[pruner] successive_halving: "),
        ("[sampler]\nn_startup_trials = -1", "[sampler] n_startup_trials = -1 must be finite and >= 0"),
        ("[sampler]\nn_ei_candidates = 0", "[sampler] n_ei_candidates = 0 must be finite and >= 1"),
        ("[sampler]\nprior_weight = 0", "[sampler] prior_weight = 0 must be above 0"),
        ("[sampler]\nprior_weight = nan", "[sampler] prior_weight = nan must be above 0"),
        ("[pruner]\nbootstrap_count = -2", "[pruner] bootstrap_count = -2 must be finite and >= 0"),
        ("[pruner]\nmin_resource = 10", "[pruner] min_resource = 10 is more than the trials' 9 epochs"),
        ("[sampler]\nconsider_prior = false", "[sampler] tpe: `consider_prior` has been deprecated"),
        ("sampler = 3", "sampler = 3 must be a table"),
    ],
)
def test_wrong_options(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f"{text}\n{SPACE}" if text.startswith("sampler") else f"{SPACE}{text}", encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_study(path)
    assert str(error.value).startswith(f"{path}: ")
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("pruner", "reason"),
    [
        ("percentile", r"\[pruner\] percentile needs percentile \(float or int\)$"),
        ("patient", r"\[pruner\] patient needs patience \(int\)$"),
        ("threshold", "lower"),
    ],
)
def test_options_that_must_be_given(pruner: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(SPACE, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        load_study(path, {"study.pruner": pruner})


def test_options_arrive_and_are_part_of_the_study(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(SPACE, encoding="utf-8")
    plain = load_study(path)
    file = load_study(path, {"sampler.n_startup_trials": 3, "pruner.bootstrap_count": 2})
    assert make_sampler(file, 0)._n_startup_trials == 3  # type: ignore[attr-defined]
    assert make_pruner(file)._bootstrap_count == 2  # type: ignore[attr-defined]
    assert file.hash != plain.hash
    median = load_study(path, {"study.pruner": "median", "pruner.n_startup_trials": 2})  # its annotations are types
    assert make_pruner(median)._n_startup_trials == 2  # type: ignore[attr-defined]
    patient = load_study(path, {"study.pruner": "patient", "pruner.patience": 2, "pruner.wrapped": "median"})
    assert type(make_pruner(patient)._wrapped_pruner).__name__ == "MedianPruner"  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"unknown pruner 'asha'; choose from successive_halving"):
        load_study(path, {"study.pruner": "patient", "pruner.patience": 2, "pruner.wrapped": "asha"})


def test_brackets_of_hyperband_that_end_before_they_begin(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(SPACE, encoding="utf-8")
    with pytest.raises(InputError, match=r"\[pruner\] max_resource = 0 is less than the \d+ epochs of the first rung"):
        load_study(tmp_path / "a.toml", {"study.pruner": "hyperband", "pruner.max_resource": 0})
