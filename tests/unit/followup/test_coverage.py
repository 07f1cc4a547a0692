"""Error rates by simulation: false findings at the nominal rate, and which interval covers what it says."""

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from topotune.followup.statistics import holm, paired_difference

STUDIES = 2000
FEWER = 500  # where each one takes some milliseconds
NOISE = 4 * np.sqrt(0.05 * 0.95 / STUDIES)  # four standard errors of a rate of 5%


def _differences(pairs: int, comparisons: int, seed: int) -> np.ndarray:
    """Without any difference: (studies, comparisons, pairs); all comparisons of a study share the control's noise."""
    draw = np.random.default_rng(seed)
    return draw.normal(size=(STUDIES, comparisons, pairs)) - draw.normal(size=(STUDIES, 1, pairs))


@pytest.mark.parametrize("pairs", [3, 5])
def test_a_single_comparison_is_wrong_in_one_study_of_twenty(pairs: int) -> None:
    differences = _differences(pairs, 1, pairs)
    p = stats.ttest_1samp(differences, 0, axis=2).pvalue
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=NOISE)
    for study in range(20):  # and what a report says is that p
        found = paired_difference(differences[study, 0].tolist(), [0.0] * pairs)
        assert found["p"] == pytest.approx(p[study, 0])
        assert (found["low"] <= 0 <= found["high"]) == (p[study, 0] > 0.05)


@pytest.fixture
def little_to_collect() -> Iterator[None]:
    """statsmodels collects garbage in every correction, which takes longer the more other tests have left."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("little_to_collect")
@pytest.mark.parametrize("pairs", [3, 5])
def test_six_corrected_comparisons_are_wrong_in_no_more(pairs: int) -> None:
    p = stats.ttest_1samp(_differences(pairs, 6, pairs), 0, axis=2).pvalue[:FEWER]
    found = [min(one for one in holm(study.tolist()) if one is not None) < 0.05 for study in p]
    assert np.mean(found) < 0.05 + NOISE * np.sqrt(STUDIES / FEWER)
    assert (p.min(axis=1) < 0.05).mean() > 0.1  # uncorrected, twice as many and more


@pytest.mark.slow
def test_of_few_pairs_t_covers_and_the_bootstrap_does_not() -> None:
    draw, covered = np.random.default_rng(0), []
    for values in draw.normal(size=(400, 4)):
        ends = stats.bootstrap((values,), np.mean, n_resamples=999, random_state=0).confidence_interval
        low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
        covered.append((low <= 0 <= high, ends.low <= 0 <= ends.high))
    of_t, of_bootstrap = np.mean(covered, axis=0)
    assert of_t == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / 400))
    assert of_bootstrap < 0.88
