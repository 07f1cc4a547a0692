"""Two ranks in two real processes: they hold the gradient of one, stop together, and go on to the same bits.

All that needs both ranks runs in one gang, since starting one takes seconds; each test looks at what it left.
"""

import json
import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn

from topotune.config import TrialConfig
from topotune.data.batches import Batch, evaluation_batches
from topotune.data.splits import load_split
from topotune.errors import InputError, StageError
from topotune.files import read_csv
from topotune.load import load_checkpoint
from topotune.losses.strength import GradientRatio
from topotune.models.topographic import build_model
from topotune.training import distributed
from topotune.training.arrangement import Arranger, hold_out, topography_of
from topotune.training.device import Precision
from topotune.training.fit import fit
from topotune.training.launch import train
from topotune.training.loop import Pull, evaluate, losses, train_epoch
from topotune.training.records import EpochMetrics, TrialStopped
from topotune.training.topography import Topography

Quick = Callable[..., TrialConfig]
CPU = Precision(torch.device("cpu"), bfloat16=False)


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
    torch.manual_seed(0)
    model = build_model("resnet18", 3, 10)
    config = TrialConfig(model="resnet18", topography="sphere", weight=0.7)
    topography = topography_of(config, model)
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


NEIGHBOURS = ("as", "as_relu", "as_global", "ws", "laplacian")
RATIOS = ("channel", "ws", "as", "as_global")


def _plain_net() -> nn.Sequential:
    """Without batch normalisation, in double precision: a mean over samples is a mean over ranks."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.Tanh(), nn.Conv2d(6, 4, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 9),
        nn.Tanh(), nn.Linear(9, 3),
    ).double()  # fmt: skip


def _share(size: int, step: int, rank: int, ranks: int) -> Batch:
    """This rank's part of a batch; ranks with different numbers of samples where ``size`` is odd."""
    generator = torch.Generator().manual_seed(100 * size + step)
    images = torch.randn(size, 1, 6, 6, dtype=torch.float64, generator=generator)
    labels = torch.randint(3, (size,), generator=generator)
    mine = slice(rank, None, ranks)
    return Batch(images[mine], labels[mine], len(labels[mine]) * ranks / size)


def _topography(model: nn.Module, loss: str) -> Topography:
    return Topography(model, "sheet", loss=loss, layers=["0", "5"], weight=0.7)


def _neighbours(loss: str, size: int, rank: int, ranks: int) -> tuple[float, dict[str, Tensor]]:
    """The value of a loss and the gradients of the sum, after one backward pass over this rank's share."""
    model = _plain_net()
    parallel, topography = distributed.parallel(model, torch.device("cpu")), _topography(model, loss)
    batch = _share(size, 0, rank, ranks)
    task, topographic = losses(parallel, batch, topography, CPU)
    ((task + topography.weight * topographic) * batch.share).backward()
    found = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    return topographic.item(), found


def _ratio(loss: str, size: int, rank: int, ranks: int) -> tuple[list[float], dict[str, Tensor]]:
    """λ of four steps, every second of them measured, and the weights after them."""
    model = _plain_net()
    parallel, ratio = distributed.parallel(model, torch.device("cpu")), GradientRatio(0.2, 2)
    pull, weights = Pull(_topography(model, loss), ratio), list[float]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(4):
        *_told, strength = train_epoch(parallel, [_share(size, step, rank, ranks)], optimizer, pull, CPU, [(0.05, 1.0)])
        assert ratio.weight is not None
        assert strength == pytest.approx(ratio.weight.item(), rel=1e-6)
        weights.append(ratio.weight.item())
    return weights, {name: value.clone() for name, value in model.state_dict().items()}


def _accumulated(size: int, rank: int, ranks: int, accumulate: int) -> tuple[Any, dict[str, Tensor]]:
    """What two steps tell, each of so many micro-batches a rank, and the weights after them."""
    model = _plain_net()
    parallel, pull = distributed.parallel(model, torch.device("cpu")), Pull(_topography(model, "channel"))
    batches = [_share(size, step, rank, ranks) for step in range(2)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    told = train_epoch(parallel, batches, optimizer, pull, CPU, [(0.05, 1.0), (0.02, 0.5)], accumulate)
    return told, {name: value.clone() for name, value in model.state_dict().items()}


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


# trials whose positions are not given
HANDED_OUT: dict[str, dict[str, Any]] = {
    "learned": {"topography": "grid2d-learned", "swap_every": 1, "loss": "as"},
    "assigned": {"topography": "grid2d-assigned", "weight": 0.0, "loss": "as"},
    "ratio": {"strength": "ratio", "weight": 0.2},
}


def _arrangements(config: TrialConfig, rank: int) -> list[dict[str, Any]]:
    """Two rounds of positions for a network, the second after weights have changed."""
    torch.manual_seed(0)
    model = build_model(config.model, 1, 10)
    config = config.replace(topography="grid2d-learned")
    _rest, probe = hold_out(load_split("digits", "train"), config.seed)
    arranger = Arranger(config, topography_of(config, model), probe)
    for epoch in range(2):
        arranger.arrange(model, CPU, epoch)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(epoch)))
    return arranger.rounds


def _evaluated(rank: int, checkpoint: Path) -> tuple[float, float]:
    batches = evaluation_batches(load_split("digits", "test"), 50, rank, 2)
    return evaluate(load_checkpoint(checkpoint), batches, CPU)


def _gang(rank: int, address: str, out: Path, config: TrialConfig) -> None:
    torch.set_num_threads(1)
    left: dict[str, Any] = {}
    with distributed.process_group(rank, 2, address, torch.device("cpu")):
        left |= _collectives(rank)
        left |= {f"gradients {size}": _gradients(size, rank, 2) for size in (6, 5)}
        left |= {f"{loss} {size}": _neighbours(loss, size, rank, 2) for loss in NEIGHBOURS for size in (6, 5)}
        left |= {f"ratio {loss} {size}": _ratio(loss, size, rank, 2) for loss in RATIOS for size in (6, 5)}
        left |= {f"accumulated {size}": _accumulated(size, rank, 2, 2) for size in (12, 9)}
        for name, changes in HANDED_OUT.items():
            left[name] = fit(config.replace(**changes), out / name)
            try:
                fit(config.replace(**changes), out / f"{name}-broken", report=_stop_after_one)
            except (Stop, TrialStopped):
                left[f"{name} again"] = fit(config.replace(**changes), out / f"{name}-broken")
        left["arrangements"] = _arrangements(config, rank)
        left["whole"] = fit(config, out / "whole")
        try:
            fit(config, out / "broken", report=_stop_after_one)
        except (Stop, TrialStopped) as error:
            left["stopped"] = (type(error), str(error))
        left["resumed"] = fit(config, out / "broken")
        left["evaluated"] = _evaluated(rank, out / "whole")
    (out / f"left-{rank}").write_bytes(pickle.dumps(left))


@pytest.fixture(scope="module")
def gang(two_ranks: Any, quick: Quick) -> tuple[Path, Any, Any]:
    """What the two ranks left."""
    left: tuple[Path, Any, Any] = two_ranks(_gang, quick(workers=2, model="mnist_cnn", epochs=2))
    return left


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
@pytest.mark.parametrize("size", [6, 5])
@pytest.mark.parametrize("loss", NEIGHBOURS)
def test_two_ranks_have_the_neighbour_loss_of_one(loss: str, size: int, gang: Any) -> None:
    """Correlations over the whole batch are not the mean of the ranks' own: value and gradient are one process's."""
    value, alone = _neighbours(loss, size, 0, 1)
    for left in gang[1:]:
        found, gradients = left[f"{loss} {size}"]
        assert found == pytest.approx(value, rel=1e-12)
        assert list(gradients) == list(alone)
        for name, gradient in alone.items():
            torch.testing.assert_close(gradients[name], gradient, rtol=1e-9, atol=1e-12, msg=name)


def test_the_ranks_own_correlations_would_not_do() -> None:
    """So the test above means something."""
    whole, *parts = (_neighbours("as", 6, *place)[0] for place in ((0, 1), (0, 2), (1, 2)))
    assert abs(sum(parts) / 2 - whole) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("size", [6, 5])
@pytest.mark.parametrize("loss", RATIOS)
def test_two_ranks_have_the_ratio_of_one(loss: str, size: int, gang: Any) -> None:
    """λ follows the mean gradients, so it is alike on both ranks, and so are the weights after several steps."""
    weights, state = _ratio(loss, size, 0, 1)
    assert weights[1] == weights[0] != weights[2]
    for left in gang[1:]:
        found, after = left[f"ratio {loss} {size}"]
        assert found == gang[1][f"ratio {loss} {size}"][0]
        assert found == pytest.approx(weights, rel=1e-5)
        for name, value in state.items():
            torch.testing.assert_close(after[name], value, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("size", [12, 9])
def test_two_ranks_in_micro_batches_step_as_one_with_the_whole_batch(size: int, gang: Any) -> None:
    """Also where one rank has five samples and the other four."""
    told, state = _accumulated(size, 0, 1, 1)
    for left in gang[1:]:
        found, after = left[f"accumulated {size}"]
        assert found == pytest.approx(told, rel=1e-6)
        for name, value in state.items():
            torch.testing.assert_close(after[name], value, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.slow
def test_both_ranks_hand_out_the_same_positions(gang: Any, quick: Quick) -> None:
    alone = _arrangements(quick(model="mnist_cnn", epochs=2), 0)
    first, second = (left["arrangements"] for left in gang[1:])
    assert first == second
    assert [one["permutation"] for one in first] == [one["permutation"] for one in alone]
    assert len({tuple(one["permutation"]) for one in first if one["layer"] == "conv1"}) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", HANDED_OUT)
def test_a_special_run_goes_on_to_the_same_bits(name: str, gang: Any) -> None:
    """Positions that are learned or assigned, and a λ that follows the gradients, on two ranks."""
    out, first, second = gang
    whole, again = (load_file(out / run / "model.safetensors") for run in (name, f"{name}-broken"))
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    stories = [
        [(one.task_loss, one.topographic_loss, one.strength) for one in left[run].history]
        for left in (first, second)
        for run in (name, f"{name} again")
    ]
    assert all(story == stories[0] for story in stories)
    if name != "ratio":
        rounds, repeated = (
            json.loads((out / run / "arrangement.json").read_text()) for run in (name, f"{name}-broken")
        )
        assert rounds == repeated
        assert [one["epoch"] for one in rounds["rounds"]] == ([0, 1] if name == "learned" else [2])
        assert any(one["moved"] for one in rounds["rounds"])


@pytest.mark.slow
def test_both_ranks_tell_the_same_story(gang: Any) -> None:
    out, first, second = gang
    for run in ("whole", "resumed"):
        losses_ = [[(one.task_loss, one.topographic_loss) for one in left[run].history] for left in (first, second)]
        assert losses_[0] == losses_[1]
        assert first[run].validation_accuracy == second[run].validation_accuracy
    assert first["evaluated"] == second["evaluated"]
    parts = evaluation_batches(load_split("digits", "test"))
    found = evaluate(load_checkpoint(out / "whole"), parts, CPU)
    assert first["evaluated"].accuracy == found.accuracy
    assert first["evaluated"].loss == pytest.approx(found.loss, rel=1e-6)


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
    parts = evaluation_batches(load_split("digits", "validation"))
    found = evaluate(load_checkpoint(tmp_path), parts, CPU)
    assert found.accuracy == epoch["validation_accuracy"] > 0.2
    assert found.loss == pytest.approx(epoch["validation_loss"], rel=1e-6)
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


def _loses_another(rank: int, address: str) -> None:
    raise dist.DistBackendError("NCCL communicator was aborted")


@pytest.mark.slow
def test_a_rank_that_another_left_on_gpus_is_told_in_one_line(importable: None) -> None:
    """What nccl raises then; gloo's words are in the test above."""
    with pytest.raises(StageError, match=r"a rank lost another \(NCCL .* aborted\); the same command goes on"):
        distributed.launch(2, _loses_another)
