"""What Tune's trials tell, and what the study makes of it: no cluster, but Tune's own trial and scheduler."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tests.unit.search.conftest import Open
from topotune.search.adapter import Place, StudyScheduler, StudySearcher
from topotune.search.runner import RESTARTS
from topotune.search.trial import SEED

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
