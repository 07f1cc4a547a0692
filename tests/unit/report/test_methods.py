"""Methods in prose and what to cite, from study files as the project itself has them."""

import re
import tomllib
from typing import Any

import pytest

from tests.conftest import ROOT
from topotune.data import DATASETS
from topotune.followup.criteria import CRITERIA
from topotune.followup.perturbations import PERTURBATIONS
from topotune.losses import LOSSES
from topotune.models import MODELS
from topotune.report import methods, references
from topotune.search.options import PRUNERS, SAMPLERS

SPACES = sorted((ROOT / "search_spaces").glob("*.toml"))
VERSIONS = {"optuna": "5.0.0", "torch": "2.11.0", "numpy": "2"}


def _asked(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "search_spaces" / f"{name}.toml").read_text(encoding="utf-8"))


def test_the_demo_in_prose() -> None:
    training, topography, search, confirmation, pruning = methods.paragraphs(_asked("digits"), VERSIONS, True, True)
    assert training.startswith(
        "We trained small_cnn on digits for 12 epochs with stochastic gradient descent with momentum 0.9, learning "
        "rate 0.01 to 0.3, log scale, weight decay 0.01 and batches of 32, with a linear warm-up over the first 0.3"
    )
    assert "(grid2d, circle, nested2d, grid3d, sphere, nested3d)" in topography
    assert "weight λ (0.001 to 10.0, log scale): the mean squared difference" in topography
    assert "24 trials suggested by the tree-structured Parzen estimator. Trials were stopped early by" in search
    assert search.endswith("Only training and validation data were used (Optuna 5.0.0, PyTorch 2.11.0).")
    assert "trained anew with 3 seeds that the search had not used" in confirmation
    assert "without further training" in pruning


def test_what_has_not_run_is_not_told_of() -> None:
    assert len(methods.paragraphs(_asked("digits"), {}, False, False)) == 3


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_study_of_the_project_has_methods_and_references(path: Any) -> None:
    asked = tomllib.loads(path.read_text(encoding="utf-8"))
    text = " ".join(methods.paragraphs(asked, VERSIONS, True, True))
    assert not re.search(r"None|[{}\[\]]", text)
    keys = re.findall(r"^@\w+\{(\w+),$", references.bibtex(asked, True, ["fog"]), re.MULTILINE)
    assert len(keys) == len(set(keys)) >= 7
    assert {"poli2022", "holm1979", "hendrycks2019", "akiba2019"} <= set(keys)


def test_the_references_of_the_demo() -> None:
    keys = re.findall(r"^@\w+\{(\w+),$", references.bibtex(_asked("digits"), False, ["white"]), re.MULTILINE)
    assert keys == [
        "poli2022", "pedregosa2011", "bergstra2011", "li2020", "paszke2019", "akiba2019", "liaw2018", "zaharia2018",
    ]  # fmt: skip


def test_nothing_is_without_words() -> None:
    assert set(methods.LOSS_WORDS) == set(LOSSES)
    assert set(methods.SAMPLER_WORDS) == set(SAMPLERS)
    assert {*methods.PRUNER_WORDS, "none"} == set(PRUNERS)
    assert set(methods.CRITERION_WORDS) == set(CRITERIA)
    assert {name for name, one in PERTURBATIONS.items() if one.corruption} == references.CORRUPTIONS


def test_entries_are_whole_and_each_is_asked_for_somewhere() -> None:
    entries = references.entries()
    for key, text in entries.items():
        assert text.count("{") == text.count("}"), key
        assert all(f"  {name} = " in text for name in ("author", "title", "year")), key
    tables = (
        references._OF_LOSSES, references._OF_DATA, references._OF_MODELS, references._OF_SAMPLERS,
        references._OF_PRUNERS,
    )  # fmt: skip
    wanted = {key for table in tables for key in table.values()} | {*references._ALWAYS, "holm1979", "hendrycks2019"}
    assert wanted == set(entries)
    assert set(references._OF_LOSSES) == set(LOSSES)
    assert set(references._OF_DATA) == set(DATASETS)
    assert set(references._OF_MODELS) <= set(MODELS)
