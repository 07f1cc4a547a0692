"""Methods in prose and what to cite, from study files as the project itself has them."""

import re
import tomllib
from typing import Any

import pytest

from tests.conftest import ROOT
from topotune.analysis.analyses import ANALYSES
from topotune.data import DATASETS
from topotune.followup.criteria import CRITERIA
from topotune.followup.perturbations import PERTURBATIONS
from topotune.losses import LOSSES
from topotune.models import MODELS
from topotune.report import methods, references
from topotune.report.methods import Ran
from topotune.search.options import PRUNERS, SAMPLERS

SPACES = sorted((ROOT / "search_spaces").glob("*.toml"))
DONE = Ran(confirmed=True, pruned=True)
VERSIONS = {"optuna": "5.0.0", "torch": "2.11.0", "numpy": "2"}


def _asked(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "search_spaces" / f"{name}.toml").read_text(encoding="utf-8"))


def test_the_demo_in_prose() -> None:
    training, topography, search, confirmation, pruning = methods.paragraphs(_asked("digits"), VERSIONS, DONE)
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
    assert len(methods.paragraphs(_asked("digits"), {}, Ran())) == 3


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_study_of_the_project_has_methods_and_references(path: Any) -> None:
    asked = tomllib.loads(path.read_text(encoding="utf-8"))
    text = " ".join(methods.paragraphs(asked, VERSIONS, DONE))
    assert not re.search(r"None|[{}\[\]]", text)
    keys = re.findall(r"^@\w+\{(\w+),$", references.bibtex(asked, Ran(confirmed=True, tried=("fog",))), re.MULTILINE)
    assert len(keys) == len(set(keys)) >= 7
    assert {"poli2022", "holm1979", "hendrycks2019", "akiba2019"} <= set(keys)


def test_the_references_of_the_demo() -> None:
    keys = re.findall(r"^@\w+\{(\w+),$", references.bibtex(_asked("digits"), Ran(tried=("brown",))), re.MULTILINE)
    assert keys == [
        "poli2022", "pedregosa2011", "bergstra2011", "li2020", "paszke2019", "akiba2019", "liaw2018", "zaharia2018",
    ]  # fmt: skip


def test_nothing_is_without_words() -> None:
    assert set(methods.LOSS_WORDS) == set(LOSSES)
    assert set(methods.SAMPLER_WORDS) == set(SAMPLERS)
    assert {*methods.PRUNER_WORDS, "none"} == set(PRUNERS)
    assert set(methods.CRITERION_WORDS) == set(CRITERIA)
    assert {name for name, one in PERTURBATIONS.items() if one.corruption} == methods.CORRUPTIONS


def test_entries_are_whole_and_each_is_asked_for_somewhere() -> None:
    entries = references.entries()
    for key, text in entries.items():
        assert text.count("{") == text.count("}"), key
        assert all(f"  {name} = " in text for name in ("author", "title", "year")), key
    tables = (
        references._OF_LOSSES, references._OF_DATA, references._OF_MODELS, references._OF_SAMPLERS,
        references._OF_PRUNERS,
    )  # fmt: skip
    wanted = {key for table in tables for key in table.values()} | {*references._ALWAYS, "holm1979"}
    wanted |= {
        *references._OF_PERTURBATIONS.values(),
        *(key for own in references._OF_ANALYSES.values() for key in own),
    }
    assert wanted == set(entries)
    assert set(references._OF_LOSSES) == set(LOSSES)
    assert set(references._OF_DATA) == set(DATASETS)
    assert set(references._OF_MODELS) <= set(MODELS)


def test_robustness_and_analyses_are_told_and_cited() -> None:
    """Every perturbation and analysis that there is."""
    every = Ran(confirmed=True, pruned=True, tried=tuple(PERTURBATIONS), analysed=tuple(ANALYSES), settings="images=10")
    *_others, robustness, analysis = methods.paragraphs(_asked("digits"), VERSIONS, every)
    for word in ("white noise", "fast gradient sign method", "gaussian noise, shot noise", "time mask", "Holm"):
        assert word in robustness
    for word in ("Moran’s I", "AUROC", "RSA", "(images=10)"):
        assert word in analysis
    assert set(methods.ANALYSIS_WORDS) == set(ANALYSES)
    assert set(methods.PERTURBATION_WORDS) < set(PERTURBATIONS)
    keys = re.findall(r"^@\w+\{(\w+),$", references.bibtex(_asked("digits"), every), re.MULTILINE)
    assert {"truong2025", "goodfellow2015", "madry2018", "hendrycks2019", "moran1950", "kornblith2019"} <= set(keys)
    assert len(keys) == len(set(keys))
