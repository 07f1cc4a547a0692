"""What an ended trial says of its configuration, and whether one that goes on has any hope."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState
from scipy import stats

from topotune.search import table

DIVERGED = "training diverged"  # how the reason of a trial begins that would fail again
HOPELESS = 0.25  # the p of Wilcoxon's test at which no more seeds are tried: two of two worse, or nearly all of three


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial says what its configuration is worth: a repetition does not, nor one that a machine failed."""
    failed = trial.state == TrialState.FAIL
    diverged = str(trial.user_attrs.get(table.RECORD, {}).get("reason")).startswith(DIVERGED)
    return table.SAME not in trial.user_attrs and (not failed or diverged)


def keeps(trial: FrozenTrial) -> bool:
    """Whether a trial kept the constraints when it ended."""
    return not any(excess > 0 for excess in trial.constraints.values())


def hopeless(trials: Sequence[FrozenTrial], accuracies: Sequence[float]) -> bool:
    """Whether a trial with these accuracies, one a seed, is worse than the best of ``trials`` on the same seeds, by
    Wilcoxon's signed-rank test, as Optuna's WilcoxonPruner has it."""
    kept = [one for one in table.complete(trials) if keeps(one)]
    rivals = [one.user_attrs[table.RECORD].get("replicates", []) for one in kept]
    rivals = [one for one in rivals if len(one) >= len(accuracies)]
    if not rivals:
        return False
    best = max(rivals, key=lambda one: sum(one) / len(one))
    differences = [theirs - mine for theirs, mine in zip(best, accuracies, strict=False)]
    if len(differences) < 2 or not any(differences):
        return False
    return bool(stats.wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue <= HOPELESS)
