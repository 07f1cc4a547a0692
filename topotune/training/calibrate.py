"""How long an epoch takes on this machine: a few steps are timed, the rest is counted."""

import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch

from topotune.config import TrialConfig
from topotune.data.batches import evaluation_batches, training_batches
from topotune.training import memory
from topotune.training.fit import Run
from topotune.training.loop import evaluate, train_epoch

WARM, STEPS = 2, 3  # steps that are not timed, as memory is taken and kernels are chosen; and those that are


def seconds_per_epoch(config: TrialConfig, data: Path | None) -> float:
    """Seconds that one rank of such a trial takes for an epoch, validation included; nothing is left behind.

    Raises:
        InputError: the data are missing or damaged.
    """
    ranks = config.workers  # a rank's share of the batches is timed, without what ranks tell each other
    own = config.replace(workers=1, batch_size=config.batch_size // ranks, sync_batchnorm=False)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(own, Path(folder), data)
        batches = training_batches(run.train, own.batch_size, seed=0, augment=own.augment)
        taken = []
        for batch in islice(batches, WARM + STEPS):
            started = time.perf_counter()
            train_epoch(run.parallel, [batch], run.optimizer, run.pull, run.precision, [(0.0, 1.0)], run.accumulate)
            taken.append(time.perf_counter() - started)
        started, many = time.perf_counter(), memory.at_once(run.accumulate)
        part = run.validation.take(torch.arange(min(many, len(run.validation))))
        evaluate(run.model, evaluation_batches(part, many), run.precision)
        evaluation = (time.perf_counter() - started) * len(run.validation) / len(part)
    return (run.steps * statistics.median(taken[WARM:] or taken) + evaluation) / ranks
