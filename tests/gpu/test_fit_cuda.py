"""The same run on a GPU as on the CPU: it learns, repeats itself, goes on after an interruption, is read anywhere."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from topotune.config import TrialConfig
from topotune.data import DATASETS
from topotune.data.batches import Batch, evaluation_batches, training_batches
from topotune.data.splits import load_split
from topotune.followup.confirm import evaluate_checkpoint
from topotune.followup.pruning import Cut, PruneJob, prune_one
from topotune.load import load_checkpoint
from topotune.losses.channel import channel_loss
from topotune.topography.positions import positions
from topotune.topography.targets import target_similarity
from topotune.training.device import Precision, pick_device
from topotune.training.fit import Run, fit
from topotune.training.loop import evaluate, train_epoch
from topotune.training.records import EpochMetrics

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]


class Stop(Exception):
    """What a test stops a run with."""


def _stop(metrics: EpochMetrics) -> None:
    raise Stop


def _config(**changes: Any) -> TrialConfig:
    settings = {
        "topography": "grid2d", "weight": 0.1, "epochs": 4, "batch_size": 64, "learning_rate": 0.1,
        "weight_decay": 0.001, "device": "cuda",
    }  # fmt: skip
    return TrialConfig(**(settings | changes))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_learns_and_is_read_on_the_cpu(precision: str, tmp_path: Path) -> None:
    result = fit(_config(precision=precision), tmp_path)
    assert result.validation_accuracy > 0.9
    model = load_checkpoint(tmp_path)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    parts = evaluation_batches(load_split("digits", "validation"))
    found = evaluate(model, parts, Precision(torch.device("cpu"), bfloat16=False))
    assert found.accuracy == pytest.approx(result.validation_accuracy, abs=0.02)


def test_the_first_epoch_is_that_of_the_cpu(tmp_path: Path) -> None:
    """The same weights, order and targets: the losses differ by rounding only."""
    runs = [fit(_config(device=device, epochs=1), tmp_path / device).history[0] for device in ("cpu", "cuda")]
    assert runs[1].task_loss == pytest.approx(runs[0].task_loss, rel=0.02)
    assert runs[1].topographic_loss == pytest.approx(runs[0].topographic_loss, rel=0.02)


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        fit(_config(optimizer="adam", learning_rate=0.01), tmp_path, report=_stop)
    result = fit(_config(optimizer="adam", learning_rate=0.01), tmp_path)
    assert [one.epoch for one in result.history] == [1, 2, 3, 4]
    assert result.validation_accuracy > 0.9


def test_a_run_moves_to_the_cpu_and_back(tmp_path: Path) -> None:
    """Where it runs is no part of a trial."""
    with pytest.raises(Stop):
        fit(_config(), tmp_path, report=_stop)
    with pytest.raises(Stop):
        fit(_config(device="cpu"), tmp_path, report=_stop)
    assert fit(_config(), tmp_path).validation_accuracy > 0.9


def test_testing_and_pruning(tmp_path: Path) -> None:
    fit(_config(), tmp_path)
    rows = prune_one(PruneJob(tmp_path, None, (Cut(0.0), Cut(1.0))))
    assert rows[0]["accuracy"] == evaluate_checkpoint(tmp_path, load_split("digits", "test")).accuracy > 0.85
    assert rows[1]["accuracy"] < 0.2


@pytest.mark.parametrize("shape", [(4, 64, 8, 8), (4, 512, 2, 2)])
def test_the_loss_is_that_of_the_cpu(shape: tuple[int, ...]) -> None:
    y = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = target_similarity(positions("sphere", shape[1]))
    on_gpu = channel_loss(y.cuda(), target.cuda())
    assert on_gpu.item() == pytest.approx(channel_loss(y, target).item(), rel=1e-10)
    assert channel_loss(y.float().cuda(), target.cuda()).item() == pytest.approx(on_gpu.item(), rel=1e-3)


def test_batches_are_those_of_the_cpu() -> None:
    split = load_split("digits", "train")
    split = replace(split, images=split.images.expand(-1, 3, -1, -1), entry=DATASETS["cifar10"])
    there = split.to(torch.device("cuda"))
    for one, other in zip(
        training_batches(split, 64, 1, augment=True), training_batches(there, 64, 1, augment=True),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(one.labels, other.labels.cpu())
        torch.testing.assert_close(one.images, other.images.cpu())


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # torch calls it a prototype
@pytest.mark.parametrize("changes", [{}, {"loss": "as", "model": "mnist_cnn"}, {"strength": "ratio"}])
def test_no_step_but_the_first_waits_for_the_gpu(changes: dict[str, Any], tmp_path: Path) -> None:
    """Nothing is read from it, and nothing copied to it, before the end of an epoch."""
    run, plan = Run(_config(precision="bfloat16", **changes), tmp_path, None), [(0.1, 1.0)] * 5

    def watched() -> Iterator[Batch]:
        for batch in islice(training_batches(run.train, 64, 0, augment=True), len(plan)):
            torch.cuda.set_sync_debug_mode("default")
            yield batch
            torch.cuda.set_sync_debug_mode("error")
        torch.cuda.set_sync_debug_mode("default")

    try:
        task, *_others = train_epoch(run.parallel, watched(), run.optimizer, run.pull, run.precision, plan)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert task > 0


def test_auto_takes_the_gpu() -> None:
    assert pick_device("auto").type == "cuda"
    assert pick_device("cpu").type == "cpu"
