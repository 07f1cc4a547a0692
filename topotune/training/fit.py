"""The one place where a trial is put together: settings in, a trained network and its history out."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from pkgutil import resolve_name

import torch
from torch import nn

from topotune.config import TrialConfig
from topotune.data import DATASETS, steps_per_epoch
from topotune.data.batches import derive_seed, evaluation_batches, training_batches
from topotune.data.splits import Split, load_split
from topotune.errors import InputError, StageError
from topotune.files import read_table, write_csv, write_json
from topotune.losses import LOSSES
from topotune.models.topographic import LayerOutputs, build_model, topographic_layers
from topotune.topography.positions import positions
from topotune.topography.targets import target_similarity
from topotune.training import checkpoint, distributed
from topotune.training.loop import Precision, Topography, evaluate, train_epoch
from topotune.training.schedule import warmup_cosine


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch. Accuracies are fractions, losses means over samples; ``topographic_loss`` is unweighted."""

    epoch: int
    task_loss: float
    topographic_loss: float
    validation_accuracy: float
    validation_loss: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class TrialResult:
    """A finished trial. ``validation_accuracy`` is that of ``best_epoch``, whose weights are kept."""

    config_hash: str
    validation_accuracy: float
    best_epoch: int
    epochs: int
    seconds: float
    data_checksum: str
    history: tuple[EpochMetrics, ...]


class TrainingDiverged(StageError):
    """A loss is no longer a finite number."""


class TrialStopped(Exception):
    """Rank 0 stopped the trial; raised on the other ranks."""


Report = Callable[[EpochMetrics], None]


def fit(config: TrialConfig, out: Path, data: Path | None = None, *, report: Report | None = None) -> TrialResult:
    """Train as ``config`` says, keep the best epoch by validation accuracy, and leave all of it in ``out``.

    Goes on from the last whole epoch that ``out`` holds; a finished run is only read. Sets torch's global seed.
    With several ranks, each calls this within ``distributed.process_group``.

    Args:
        config: the trial's settings.
        out: the trial's folder (see ``checkpoint``); rank 0 alone writes there.
        data: folder of the data sets; ``digits`` needs none.
        report: called on rank 0 after every epoch, those from before a restart included.

    Raises:
        InputError: data or checkpoint are missing or damaged, or ``out`` holds another trial.
        TrainingDiverged: a loss became infinite or NaN.
    """
    if config.workers != distributed.world_size():
        raise InputError(f"the config asks for {config.workers} workers, but {distributed.world_size()} are running")
    if distributed.rank() == 0:
        checkpoint.claim(out, config)
    run = _Run(config, out, data)
    for metrics in run.history:
        run.tell(report, metrics)
    while run.epoch < config.epochs:
        run.tell(report, run.next_epoch())
    return run.finish()


class _Run:
    """One trial in one process: what lives from the first epoch to the last."""

    def __init__(self, config: TrialConfig, out: Path, data: Path | None) -> None:
        self.config, self.out, self.entry = config, out, DATASETS[config.dataset]
        self.history: list[EpochMetrics] = []
        self.finished = distributed.from_first(lambda: read_result(out))
        if self.finished:
            self.history = list(self.finished.history)
            return
        if config.threads:
            torch.set_num_threads(config.threads)
        self.device = pick_device(config.device, distributed.rank())
        self.precision = Precision(self.device, config.precision == "bfloat16")
        self.train, self.validation = (_on(self.device, load_split(config.dataset, part, data)) for part in PARTS)
        self.steps = steps_per_epoch(len(self.train), config.batch_size, config.workers)
        if self.steps == 0:
            raise InputError(f"batch_size {config.batch_size}: {config.dataset!r} has {len(self.train)} images only")
        torch.manual_seed(derive_seed(config.seed, "weights"))
        layout = torch.channels_last if self.precision.bfloat16 else torch.contiguous_format
        self.model = build_model(config.model, self.entry.shape[0], self.entry.classes)
        self.model.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self.topography = assemble_topography(config, self.model, self.entry.shape) if config.topographic else None
        self.optimizer = _optimizer(config, self.model)
        self._resume()
        self.parallel = distributed.parallel(self.model, self.device)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    def next_epoch(self) -> EpochMetrics:
        """Train one more epoch, evaluate it, and leave both checkpoints."""
        started, config, rank, ranks = time.monotonic(), self.config, distributed.rank(), distributed.world_size()
        # seeded anew in each epoch, so that going on after a restart needs no generator's state
        torch.manual_seed(derive_seed(config.seed, "dropout", self.epoch, rank))
        order = derive_seed(config.seed, "order", self.epoch)
        batches = training_batches(
            self.train, self.entry, config.batch_size, order, augment=config.augment, rank=rank, world_size=ranks
        )
        rates = [self._rate(step) for step in range(self.steps)]
        task, topographic = train_epoch(
            self.parallel, batches, self.optimizer, self.topography, self.precision, rates
        )  # fmt: skip
        distributed.average_buffers(self.model)
        parts = evaluation_batches(self.validation, self.entry, rank=rank, world_size=ranks)
        accuracy, loss = evaluate(self.model, parts, self.precision)
        if not math.isfinite(task + topographic + loss):
            which = f"task loss {task}, topographic loss {topographic}, validation loss {loss}"
            raise TrainingDiverged(f"training diverged: a loss is not finite in epoch {self.epoch + 1} ({which})")
        seconds = time.monotonic() - started
        metrics = EpochMetrics(self.epoch + 1, task, topographic, accuracy, loss, max(rates), seconds)
        better = accuracy > max((past.validation_accuracy for past in self.history), default=-1.0)
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
        result = TrialResult(
            self.config.hash,
            best.validation_accuracy,
            best.epoch,
            self.epoch,
            sum(past.seconds for past in self.history),
            self.train.checksum,
            tuple(self.history),
        )
        if distributed.rank() == 0:
            write_json(self.out / checkpoint.RESULT, asdict(result))
        return result

    def _rate(self, step: int) -> float:
        done = self.epoch + (step / self.steps if self.config.schedule == "step" else 0)
        return self.config.learning_rate * warmup_cosine(done / self.config.epochs, self.config.warmup)

    def _save(self, better: bool) -> None:
        if better:
            checkpoint.save_weights(self.out, self.model, self.config, self.entry.shape[0], self.entry.classes)
        history = [asdict(past) for past in self.history]
        # last: it is what a restart goes on from, and by then everything else of the epoch is there
        write_csv(self.out / checkpoint.METRICS, list(history[0]), history)
        state = {
            "epoch": self.epoch,
            "config_hash": self.config.hash,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": history,
        }
        checkpoint.save_state(self.out, state)

    def _resume(self) -> None:
        state = distributed.from_first(lambda: checkpoint.load_state(self.out))
        if state is None:
            return
        if state["config_hash"] != self.config.hash:
            raise InputError(f"{self.out / checkpoint.STATE} belongs to another trial ({state['config_hash']})")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = [EpochMetrics(**row) for row in state["history"]]


PARTS = ("train", "validation")  # never the test part: that one belongs to the follow-up


def pick_device(name: str, rank: int = 0) -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda``; with several GPUs in sight, this rank's own.

    Raises:
        InputError: ``cuda`` where there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device = 'cuda': torch sees no GPU here; use 'cpu' or 'auto'")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", rank % torch.cuda.device_count())


def assemble_topography(config: TrialConfig, model: nn.Module, shape: tuple[int, int, int]) -> Topography:
    """The topographic loss of ``config`` on the topographic layers of ``model``, for images of ``shape`` (C, H, W)."""
    layers = list(topographic_layers(config.model, model).values())
    parameter = next(model.parameters())
    model.eval()  # the probe below leaves no trace in running statistics
    with torch.no_grad(), LayerOutputs(layers) as caught:
        model(torch.zeros(1, *shape, device=parameter.device))
    targets = [
        target_similarity(positions(config.topography, output.shape[1]), config.distance).to(output)
        for output in caught.outputs
    ]
    mean = config.layer_reduction == "mean"
    return Topography(layers, targets, resolve_name(LOSSES[config.loss]), config.weight, mean)


def _optimizer(config: TrialConfig, model: nn.Module) -> torch.optim.Optimizer:
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay)
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=config.momentum, weight_decay=decay)


def _on(device: torch.device, split: Split) -> Split:
    return Split(split.images.to(device), split.labels.to(device), split.checksum)


def read_result(out: Path) -> TrialResult | None:
    """The result of the trial in ``out``, or None while it is not finished."""
    path = out / checkpoint.RESULT
    if not path.exists():
        return None
    values = read_table(path)
    try:
        history = tuple(EpochMetrics(**row) for row in values.pop("history"))
        return TrialResult(**values, history=history)
    except (KeyError, TypeError):
        raise InputError(f"{path} is damaged; delete it, and the trial goes on from {checkpoint.STATE}") from None


def train(config: TrialConfig, out: Path, data: Path | None = None, *, report: Report | None = None) -> TrialResult:
    """``fit`` in this process, or in as many new processes of this machine as ``config.workers`` says.

    ``report`` then runs in the first of them, so it must be importable there.
    """
    if config.workers == 1:
        return fit(config, out, data, report=report)
    if pick_device(config.device).type == "cuda" and config.workers > torch.cuda.device_count():
        raise InputError(
            f"workers = {config.workers}: each needs a GPU of its own, and {torch.cuda.device_count()} are here"
        )
    checkpoint.claim(out, config)
    distributed.launch(config.workers, _fit_rank, config, out, data, report)
    result = read_result(out)
    assert result is not None  # every rank ended without an error
    return result


def _fit_rank(
    rank: int, address: str, config: TrialConfig, out: Path, data: Path | None, report: Report | None
) -> None:
    device = pick_device(config.device, rank)
    with suppress(TrialStopped), distributed.process_group(rank, config.workers, address, device):
        fit(config, out, data, report=report)
