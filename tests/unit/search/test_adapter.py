"""What Tune's trials tell, and what the study makes of it: no cluster, but Tune's own trial and scheduler."""

from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from tests.unit.search.conftest import Open
from topotune.errors import StageError
from topotune.search.adapter import Place, StudyScheduler, StudySearcher
from topotune.search.runner import RESTARTS
from topotune.search.trial import HALT, SEED

SPACE = """
[study]
name = "a"
pruner = "none"
[fixed]
epochs = 9
[nuisance]
momentum = {low = 0.0, high = 0.9}
"""


def _epoch(number: int, seed: int = 0) -> dict[str, Any]:
    return {"epoch": number, "validation_accuracy": 0.5, "seconds": 1.0, "start_seconds": 1.0, SEED: seed}


def test_deaths_are_forgiven_to_a_trial_that_gets_further(open_study: Open) -> None:
    """One that dies again and again at the same place is given up; one whose machines are taken away is not."""
    searcher = StudySearcher(open_study(SPACE, budget__replicates=2), Place(None, 0.0, 1.0), lambda: 1, [])
    scheduler, trial = StudyScheduler(searcher), Trial("topotune", stub=True, max_failures=RESTARTS)
    assert isinstance(searcher.suggest(trial.trial_id), dict)

    def die() -> None:
        trial.run_metadata.num_failures += 1
        searcher.restarted(trial.trial_id)

    def tell(result: dict[str, Any]) -> None:
        assert scheduler.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE

    tell(_epoch(1))
    for death in range(RESTARTS):
        die()
        tell(_epoch(1))  # what it had done before is told again
        assert trial.num_failures == death + 1
    assert trial.should_recover()
    tell(_epoch(2))
    assert trial.num_failures == 0
    die()
    tell(_epoch(1, seed=1))  # a further seed's is progress too
    assert trial.num_failures == 0
    for _ in range(RESTARTS + 1):
        assert trial.should_recover()
        die()
    assert not trial.should_recover()


def test_a_trial_whose_process_was_dead_before_it_began_is_handed_out_again(open_study: Open) -> None:
    """Tune gives up a trial that it meant for the process of an earlier one, where that has died in between."""
    study = open_study(SPACE, budget__trials=1)
    searcher = StudySearcher(study, Place(None, 0.0, 1.0), lambda: 2, [])
    scheduler, trial, again = StudyScheduler(searcher), Trial("topotune", stub=True), Trial("topotune", stub=True)
    first = searcher.suggest(trial.trial_id)
    assert isinstance(first, dict)
    assert searcher.suggest(again.trial_id) is None  # not finished: one that runs may come back
    assert trial.status == Trial.PENDING
    scheduler.on_trial_error(None, trial)
    searcher.on_trial_complete(trial.trial_id, error=True)
    second = searcher.suggest(again.trial_id)
    assert isinstance(second, dict)
    assert (second["config"], second["outs"]) == (first["config"], first["outs"])
    again.set_status(Trial.RUNNING)
    scheduler.on_trial_error(None, again)  # a process of its own that died too often
    searcher.on_trial_complete(again.trial_id, error=True)
    assert [row["state"] for row in study.rows()] == ["failed"]
    assert searcher.suggest("c") == Searcher.FINISHED


def test_where_a_disk_is_full_trials_pause_and_none_is_begun(open_study: Open) -> None:
    study = open_study(SPACE, budget__trials=3)
    searcher = StudySearcher(study, Place(None, 0.0, 1.0), lambda: 2, [])
    scheduler, trial, other = StudyScheduler(searcher), Trial("topotune", stub=True), Trial("topotune", stub=True)
    first, second = searcher.suggest(trial.trial_id), searcher.suggest(other.trial_id)
    searcher.raise_halt()
    searcher.on_trial_complete(trial.trial_id, {HALT: "[Errno 28] No space left on device: '/disk', on 10.0.0.1"})
    assert scheduler.on_trial_result(None, other, _epoch(1)) == TrialScheduler.STOP
    searcher.on_trial_complete(other.trial_id, _epoch(1))
    assert searcher.suggest("c") == Searcher.FINISHED
    with pytest.raises(StageError, match=r"'/disk', on 10\.0\.0\.1"):
        searcher.raise_halt()
    assert [row["state"] for row in study.rows()] == ["running", "running"]
    goes_on = StudySearcher(open_study(SPACE, budget__trials=3), Place(None, 0.0, 1.0), lambda: 2, [])
    for job in (first, second):
        again = goes_on.suggest(str(job))
        assert isinstance(job, dict)
        assert isinstance(again, dict)
        assert again["outs"] == job["outs"]
