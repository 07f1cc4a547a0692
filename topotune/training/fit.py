"""The one place where a trial is put together: settings in, a trained network and its history out."""

import math
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from topotune.config import NONE, TrialConfig, check_size
from topotune.data import steps_per_epoch
from topotune.data.batches import derive_seed, evaluation_batches, training_batches
from topotune.data.splits import Split, load_split
from topotune.errors import InputError
from topotune.files import write_csv, write_json
from topotune.losses.strength import GradientRatio
from topotune.models.topographic import build_model
from topotune.training import METRICS, RESULT, STATE, checkpoint, distributed, memory
from topotune.training.arrangement import Arranger, check_layers, hold_out, topography_of
from topotune.training.batchnorm import synchronise
from topotune.training.device import LAYOUT, Precision, advice, pick_device
from topotune.training.loop import Pull, evaluate, train_epoch
from topotune.training.records import (
    EpochMetrics,
    OutOfMemory,
    Report,
    TrainingDiverged,
    TrialResult,
    TrialStopped,
    read_result,
)
from topotune.training.schedule import plan


def fit(config: TrialConfig, out: Path, data: Path | None = None, *, report: Report | None = None) -> TrialResult:
    """Train as ``config`` says, keep the best epoch by validation accuracy, and leave all of it in ``out``.

    Goes on from the last whole epoch that ``out`` holds; a finished run is only read. Sets torch's global seed.
    With several ranks, each calls this within ``distributed.process_group``.

    Args:
        config: the trial's settings.
        out: the trial's folder (see ``checkpoint``); rank 0 alone writes there, but for ``last/memory.json``.
        data: folder of the data sets; ``digits`` needs none.
        report: called on rank 0 after every epoch, those from before a restart included.

    Raises:
        InputError: data or checkpoint are missing or damaged, or ``out`` holds another trial.
        TrainingDiverged: a loss became infinite or NaN.
    """
    if config.workers != distributed.world_size():
        raise InputError(f"the config asks for {config.workers} workers, but {distributed.world_size()} are running")
    if distributed.rank() == 0:
        check_layers(config)
        checkpoint.check_free(out, config)
    run = Run(config, out, data)
    if distributed.rank() == 0:  # only now, when there is nothing left that could be wrong with the settings
        checkpoint.claim(out, config)
    if distributed.rank() == 0 and not run.finished and (said := advice(config.precision, run.device)):
        print(said, file=sys.stderr, flush=True)
    for metrics in run.history:
        run.tell(report, metrics)
    while run.epoch < config.epochs:
        done = run.next_epoch()
        if done:
            run.tell(report, done)
        else:  # it ran out of memory
            del run
            run = Run(config, out, data)
    return run.finish()


class Run:
    """One trial in one process: what lives from the first epoch to the last."""

    def __init__(self, config: TrialConfig, out: Path, data: Path | None) -> None:
        self.config, self.out = config, out
        self.history: list[EpochMetrics] = []
        self.finished = distributed.from_first(lambda: read_result(out))
        if self.finished:
            self.history = list(self.finished.history)
            return
        if config.threads:
            torch.set_num_threads(config.threads)
        self.device = pick_device(config.device, distributed.rank())
        if self.device.type == "cpu":
            memory.keep_freed_memory()
        self.precision = Precision(self.device, config.precision == "bfloat16")
        self.accumulate = distributed.from_first(lambda: memory.micro_batches(out, config.accumulate))
        self.train, self.validation = (load_split(config.dataset, part, data).to(self.device) for part in PARTS)
        self.entry, self.checksum, probe = self.train.entry, self.train.checksum, None
        check_size(config.model, config.dataset, self.entry)  # a user's own are known only now
        if config.arrangement != "fixed":
            rest, probe = hold_out(self.train, config.seed)
            self.train = rest if config.arrangement == "learned" else self.train
        self.steps = steps_per_epoch(len(self.train), config.batch_size, config.workers)
        if self.steps == 0:
            raise InputError(f"batch_size {config.batch_size}: {config.dataset!r} has {len(self.train)} samples only")
        torch.manual_seed(derive_seed(config.seed, "weights"))
        self.model = build_model(config.model, self.entry.shape[0], self.entry.classes)
        self.model.to(self.device, memory_format=LAYOUT)  # type: ignore[call-overload]
        if config.sync_batchnorm and config.workers > 1:
            self.model = synchronise(self.model, self.device)
        self.pull, self.arranger = self._assemble(probe)
        self.optimizer = make_optimizer(config, self.model)
        self._resume()
        self.parallel = distributed.parallel(self.model, self.device)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    def next_epoch(self) -> EpochMetrics | None:
        """Train one more epoch; None where memory ran out: this object is of no more use then, a new one is.

        Raises:
            OutOfMemory: memory ran out on one of several ranks, which all have to begin anew.
        """
        try:
            return self._next_epoch()
        except (RuntimeError, MemoryError) as error:
            if not memory.ran_out(error):
                raise
            if self.pull and self.pull.ratio:  # as TrialConfig says of accumulate
                raise InputError(
                    f"not enough memory for batch_size {self.config.batch_size}, which strength 'ratio' needs at once"
                ) from None
            said = memory.halve(self.out, self.accumulate, self.config.batch_size // self.config.workers)
            if self.config.workers > 1:
                raise OutOfMemory(f"rank {distributed.rank()}: {said}") from None
        print(said, file=sys.stderr, flush=True)
        self.optimizer.zero_grad(set_to_none=True)
        return None

    def _next_epoch(self) -> EpochMetrics:
        """Train one more epoch, evaluate it, and leave both checkpoints."""
        started, config, rank, ranks = time.monotonic(), self.config, distributed.rank(), distributed.world_size()
        # seeded anew in each epoch, so that going on after a restart needs no generator's state
        torch.manual_seed(derive_seed(config.seed, "dropout", self.epoch, rank))
        order = derive_seed(config.seed, "order", self.epoch)
        batches = training_batches(
            self.train, config.batch_size, order, augment=config.augment, rank=rank, world_size=ranks
        )
        if self.arranger and self.arranger.due(self.epoch):
            self.arranger.arrange(self.model, self.precision, self.epoch)
        steps = plan(config, self.epoch, self.steps)
        task, topographic, strength = train_epoch(
            self.parallel, batches, self.optimizer, self.pull, self.precision, steps, self.accumulate
        )  # fmt: skip
        distributed.average_buffers(self.model)
        many = memory.at_once(self.accumulate)
        parts = evaluation_batches(self.validation, many, rank=rank, world_size=ranks)
        found = evaluate(self.model, parts, self.precision)
        if not math.isfinite(task + topographic + found.loss):
            which = f"task loss {task}, topographic loss {topographic}, validation loss {found.loss}"
            raise TrainingDiverged(f"training diverged: a loss is not finite in epoch {self.epoch + 1} ({which})")
        seconds = time.monotonic() - started
        rate = max(rate for rate, _factor in steps)
        metrics = EpochMetrics(
            self.epoch + 1, task, topographic, found.accuracy, found.loss, rate, seconds, strength, found.roc_auc
        )  # fmt: skip
        better = found.accuracy > max((past.validation_accuracy for past in self.history), default=-1.0)
        self.history.append(metrics)
        if rank == 0:
            self._save(better)
        return metrics

    def tell(self, report: Report | None, metrics: EpochMetrics) -> None:
        """Report from rank 0. Where that raises, for a search may stop a trial so, every rank stops with it."""
        reason: BaseException | None = None
        if report and distributed.rank() == 0:
            try:
                report(metrics)
            except BaseException as error:  # noqa: BLE001 (raised again below)
                reason = error
        if distributed.any_rank(reason is not None):
            raise reason or TrialStopped

    def finish(self) -> TrialResult:
        """Write ``result.json``, or read it where the run was finished before."""
        if self.finished:
            return self.finished
        best = max(self.history, key=lambda past: past.validation_accuracy)  # the first of equals
        if self.arranger and self.config.arrangement == "assigned":
            self._assign()
        read = zip(PARTS, (self.train, self.validation), strict=True)
        result = TrialResult(
            self.config.hash,
            best.validation_accuracy,
            best.epoch,
            self.epoch,
            sum(past.seconds for past in self.history),
            self.checksum,
            tuple(self.history),
            self.accumulate,
            {part: split.notes for part, split in read if split.notes},
        )
        if distributed.rank() == 0:
            write_json(self.out / RESULT, asdict(result))
        return result

    def _assemble(self, probe: Split | None) -> tuple[Pull | None, Arranger | None]:
        """What pulls in every step, and who hands out positions; each only where the trial has it."""
        config = self.config
        if config.topography == NONE:
            return None, None
        topography = topography_of(config, self.model)
        arranger = Arranger(config, topography, probe) if probe is not None else None
        ratio = GradientRatio(config.weight, config.ratio_every) if config.strength == "ratio" else None
        return (Pull(topography, ratio) if config.topographic else None), arranger

    def _assign(self) -> None:
        """Positions for the channels of the best epoch's network: on every rank, since a loss may gather from all."""
        assert self.arranger is not None
        best = distributed.from_first(lambda: checkpoint.load_model(self.out).state_dict())
        self.model.load_state_dict(best)
        self.arranger.arrange(self.model, self.precision, self.epoch)
        if distributed.rank() == 0:
            self.arranger.save(self.out)

    def _save(self, better: bool) -> None:
        if better:
            checkpoint.save_weights(self.out, self.model, self.config, self.entry.shape[0], self.entry.classes)
        history = [asdict(past) for past in self.history]
        # last: it is what a restart goes on from, and by then everything else of the epoch is there
        write_csv(self.out / METRICS, list(history[0]), history)
        if self.arranger and self.arranger.rounds:
            self.arranger.save(self.out)
        state = {
            "epoch": self.epoch,
            "config_hash": self.config.hash,
            "data_checksum": self.checksum,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": history,
            "rounds": self.arranger.rounds if self.arranger else [],
            "ratio": self.pull.ratio.state() if self.pull and self.pull.ratio else None,
        }
        checkpoint.save_state(self.out, state)

    def _resume(self) -> None:
        state = distributed.from_first(lambda: checkpoint.load_state(self.out))
        if state is None:
            return
        if state["config_hash"] != self.config.hash:
            raise InputError(f"{self.out / STATE} belongs to another trial ({state['config_hash']})")
        if state.get("data_checksum", self.checksum) != self.checksum:
            raise InputError(
                f"{self.out / STATE} was trained on other data than {self.config.dataset!r} is now; give the trial a "
                "folder of its own, or the data that it began with"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        try:
            self.history = [EpochMetrics(**row) for row in state["history"]]
        except TypeError:
            raise InputError(
                f"{self.out / STATE} is of another version of topotune; delete {self.out} to train this trial anew"
            ) from None
        if self.arranger:
            self.arranger.resume(state["rounds"])
        if self.pull and self.pull.ratio:
            self.pull.ratio.resume(state["ratio"])


PARTS = ("train", "validation")  # never the test part: that one belongs to the follow-up


def make_optimizer(config: TrialConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a trial's settings, for its model."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=config.momentum, weight_decay=decay, fused=True)
