"""Two ranks in two real processes: they hold the gradient of one, stop together, and go on to the same bits.

All that needs both ranks runs in one gang, since starting one takes seconds; each test looks at what it left.
"""

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from topotune.config import TrialConfig
from topotune.data import DATASETS
from topotune.data.batches import Batch, evaluation_batches
from topotune.data.splits import load_split
from topotune.errors import InputError, StageError
from topotune.files import read_csv
from topotune.load import load_checkpoint
from topotune.training import distributed
from topotune.training.fit import assemble_topography, fit, train
from topotune.training.loop import Precision, evaluate, losses
from topotune.training.records import EpochMetrics, TrialStopped

Quick = Callable[..., TrialConfig]
CPU = Precision(torch.device("cpu"), bfloat16=False)
ROOT = Path(__file__).parents[3]


class Stop(Exception):
    """What a test stops a run with."""


def _stop_after_one(metrics: EpochMetrics) -> None:
    raise Stop(f"after epoch {metrics.epoch}")


def _die_after_one(metrics: EpochMetrics) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _second_dies(rank: int, _address: str) -> None:
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _resnet_and_batch(size: int) -> tuple[nn.Module, Any, Tensor, Tensor]:
    """A ResNet-18 in double precision with running statistics that are not those of a fresh one."""
    from topotune.models.topographic import build_model

    torch.manual_seed(0)
    model = build_model("resnet18", 3, 10)
    config = TrialConfig(model="resnet18", topography="sphere", weight=0.7)
    topography = assemble_topography(config, model, (3, 16, 16))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
    images = torch.randn(size, 3, 16, 16, dtype=torch.float64)
    return model.double(), topography, images, torch.randint(10, (size,))


def _gradients(size: int, rank: int, ranks: int) -> dict[str, Tensor]:
    """The gradients after one backward pass over this rank's share of a batch, in evaluation mode."""
    model, topography, images, labels = _resnet_and_batch(size)
    model.eval()
    parallel = distributed.parallel(model, torch.device("cpu"))
    mine = slice(rank, None, ranks)
    batch = Batch(images[mine], labels[mine], len(labels[mine]) * ranks / size)
    task, topographic = losses(parallel, batch, topography, CPU)
    ((task + topography.weight * topographic) * batch.share).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def _collectives(rank: int) -> dict[str, Any]:
    norm = nn.BatchNorm2d(2)
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    norm.running_mean += rank + 1
    norm.num_batches_tracked += 5
    distributed.average_buffers(norm)
    return {
        "place": (distributed.rank(), distributed.world_size()),
        "sum": distributed.sum_over_ranks(torch.tensor([rank + 1.0, 10.0])).tolist(),
        "any": (distributed.any_rank(rank == 1), distributed.any_rank(False)),
        "first": distributed.from_first(lambda: ("from", rank)),
        "mean": norm.running_mean.tolist(),
        "count": norm.num_batches_tracked.item(),
    }


def _evaluated(rank: int, checkpoint: Path) -> tuple[float, float]:
    batches = evaluation_batches(load_split("digits", "test"), DATASETS["digits"], 50, rank, 2)
    return evaluate(load_checkpoint(checkpoint), batches, CPU)


def _gang(rank: int, address: str, out: Path, config: TrialConfig) -> None:
    torch.set_num_threads(1)
    left: dict[str, Any] = {}
    with distributed.process_group(rank, 2, address, torch.device("cpu")):
        left |= _collectives(rank)
        left |= {f"gradients {size}": _gradients(size, rank, 2) for size in (6, 5)}
        left["whole"] = fit(config, out / "whole")
        try:
            fit(config, out / "broken", report=_stop_after_one)
        except (Stop, TrialStopped) as error:
            left["stopped"] = (type(error), str(error))
        left["resumed"] = fit(config, out / "broken")
        left["evaluated"] = _evaluated(rank, out / "whole")
    (out / f"left-{rank}").write_bytes(pickle.dumps(left))


@pytest.fixture(scope="module")
def importable() -> Iterator[None]:
    """A new process imports this module by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        patch.setenv("OMP_NUM_THREADS", "1")
        assert sys.modules[__name__].__name__ == "tests.unit.training.test_distributed"
        yield


@pytest.fixture(scope="module")
def gang(importable: None, quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """What the two ranks left."""
    out = tmp_path_factory.mktemp("gang")
    distributed.launch(2, _gang, out, quick(workers=2, model="mnist_cnn", epochs=2))
    first, second = (pickle.loads((out / f"left-{rank}").read_bytes()) for rank in (0, 1))
    return out, first, second


def test_alone_there_is_nothing_to_agree_on() -> None:
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    model, values = nn.Linear(1, 1), torch.tensor([3.0])
    assert distributed.parallel(model, torch.device("cpu")) is model
    assert distributed.sum_over_ranks(values) is values
    assert values.item() == 3
    assert distributed.any_rank(True)
    assert not distributed.any_rank(False)
    assert distributed.from_first(lambda: "x") == "x"


@pytest.mark.slow
def test_collectives(gang: Any) -> None:
    _out, first, second = gang
    assert (first["place"], second["place"]) == ((0, 2), (1, 2))
    for left in (first, second):
        assert left["sum"] == [3.0, 20.0]
        assert left["any"] == (True, False)
        assert left["first"] == ("from", 0)
        assert left["mean"] == [1.5, 1.5]  # of 1 and 2
        assert left["count"] == 5  # a count is not averaged


@pytest.mark.slow
@pytest.mark.parametrize("size", [6, 5])
def test_two_ranks_have_the_gradient_of_one(size: int, gang: Any) -> None:
    """Also where one rank has three samples and the other two."""
    alone = _gradients(size, 0, 1)
    for left in gang[1:]:
        found = left[f"gradients {size}"]
        assert list(found) == list(alone)
        for name, gradient in alone.items():
            scale = gradient.abs().max().item()
            assert scale > 0, name
            torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-6 * scale, msg=name)


@pytest.mark.slow
def test_both_ranks_tell_the_same_story(gang: Any) -> None:
    out, first, second = gang
    for run in ("whole", "resumed"):
        losses_ = [[(one.task_loss, one.topographic_loss) for one in left[run].history] for left in (first, second)]
        assert losses_[0] == losses_[1]
        assert first[run].validation_accuracy == second[run].validation_accuracy
    assert first["evaluated"] == second["evaluated"]
    parts = evaluation_batches(load_split("digits", "test"), DATASETS["digits"])
    accuracy, loss = evaluate(load_checkpoint(out / "whole"), parts, CPU)
    assert first["evaluated"][0] == accuracy
    assert first["evaluated"][1] == pytest.approx(loss, rel=1e-6)


@pytest.mark.slow
def test_a_stop_on_rank_0_stops_all_and_the_run_goes_on_to_the_same_bits(gang: Any) -> None:
    out, first, second = gang
    assert first["stopped"] == (Stop, "after epoch 1")
    assert second["stopped"][0] is TrialStopped
    whole, again = (load_file(out / run / "model.safetensors") for run in ("whole", "broken"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    told = [
        [(one.epoch, one.task_loss, one.validation_loss) for one in first[run].history] for run in ("whole", "resumed")
    ]
    assert told[0] == told[1]


@pytest.mark.slow
def test_train_starts_the_ranks_itself(importable: None, quick: Quick, tmp_path: Path) -> None:
    """What rank 0 raises is raised here; the averaged running statistics are what was evaluated and saved."""
    with pytest.raises(Stop, match="after epoch 1"):
        train(quick(workers=2), tmp_path, report=_stop_after_one)
    (epoch,) = read_csv(tmp_path / "metrics.csv")
    parts = evaluation_batches(load_split("digits", "validation"), DATASETS["digits"])
    accuracy, loss = evaluate(load_checkpoint(tmp_path), parts, CPU)
    assert accuracy == epoch["validation_accuracy"] > 0.2
    assert loss == pytest.approx(epoch["validation_loss"], rel=1e-6)
    assert not (tmp_path / "result.json").exists()


@pytest.mark.slow
def test_wrong_input_on_a_rank_is_wrong_input_here(importable: None, quick: Quick, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dataset 'mnist' needs the folder"):
        train(quick(workers=2, dataset="mnist"), tmp_path)


@pytest.mark.slow
def test_a_rank_that_is_killed_is_told_in_one_line_and_the_run_goes_on(
    importable: None, quick: Quick, tmp_path: Path
) -> None:
    died = r"a rank's process died .*SIGKILL.*; the same command goes on from the last epoch"
    config = quick(workers=2)
    with pytest.raises(StageError, match=died):
        train(config, tmp_path, report=_die_after_one)
    assert [row["epoch"] for row in read_csv(tmp_path / "metrics.csv")] == [1]
    assert not (tmp_path / "result.json").exists()
    assert train(config, tmp_path).epochs == 2
    started = time.monotonic()
    with pytest.raises(StageError, match=died):
        distributed.launch(2, _second_dies)
    assert time.monotonic() - started < 50  # the others are not waited for
