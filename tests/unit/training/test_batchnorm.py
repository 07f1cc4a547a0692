"""Batch normalisation over the ranks: alone it is torch's own; over two ranks it is what one process computes."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from topotune.config import TrialConfig
from topotune.models.topographic import build_model
from topotune.training import distributed
from topotune.training.batchnorm import synchronise
from topotune.training.fit import fit

Quick = Callable[..., TrialConfig]
CPU = torch.device("cpu")


def _norm(channels: int = 4, *, momentum: float = 0.1) -> nn.BatchNorm2d:
    """With weights, biases and running statistics that are not those of a fresh one."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels, momentum=momentum)
    with torch.no_grad():
        for one in (norm.weight, norm.bias, norm.running_mean):
            assert one is not None
            one.normal_()
    return norm


def _gathered(norm: nn.BatchNorm2d) -> nn.Module:
    found = synchronise(nn.Sequential(copy.deepcopy(norm)), CPU)[0]  # type: ignore[index]
    assert type(found) is not nn.BatchNorm2d
    return found


def _images(*shape: int, offset: float = 3.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 2 + offset


def _backward(norm: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Its output, and all gradients of a sum that weighs each place differently."""
    images = images.clone().requires_grad_()
    output = norm(images)
    (output * torch.arange(output.numel(), dtype=output.dtype).view_as(output).cos()).sum().backward()
    gradients = {name: one.grad for name, one in norm.named_parameters() if one.grad is not None}
    assert images.grad is not None
    return output.detach(), gradients | {"images": images.grad}


@pytest.mark.parametrize("offset", [0.0, 3.0, 1000.0])
@pytest.mark.parametrize("shape", [(8, 4, 5, 6), (2, 4, 1, 1), (1, 4, 3, 3)])
def test_alone_it_is_torchs_own(shape: tuple[int, ...], offset: float) -> None:
    """Also far from zero, where a mean of squares would cancel."""
    images, torchs = _images(*shape, offset=offset), _norm()
    ours = _gathered(torchs)
    for _step in range(2):
        output, gradients = _backward(torchs, images)
        found, own = _backward(ours, images)
        precision = 1e-5 * max(1, offset)
        torch.testing.assert_close(found, output, rtol=1e-4, atol=precision)
        assert own.keys() == gradients.keys() == {"weight", "bias", "images"}
        for name, gradient in gradients.items():
            torch.testing.assert_close(own[name], gradient, rtol=1e-3, atol=10 * precision, msg=name)
    for name, value in torchs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_in_double_precision_its_gradients_are_right() -> None:
    ours = _gathered(_norm(3).double()).train()
    images = _images(3, 3, 2, 2).double().requires_grad_()
    parameters = dict(ours.named_parameters())

    def output(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(ours, {"weight": weight, "bias": bias}, (images,))

    assert torch.autograd.gradcheck(output, (images, parameters["weight"], parameters["bias"]))


@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_running_statistics_by_hand(momentum: float) -> None:
    """The variance with n - 1."""
    torchs, images = _norm(momentum=momentum), _images(6, 4, 3, 3)
    ours = _gathered(torchs)
    ours(images)
    values = images.transpose(0, 1).flatten(1)
    for name, fresh in (("running_mean", values.mean(1)), ("running_var", values.var(1))):
        expected = (1 - momentum) * torchs.state_dict()[name] + momentum * fresh
        torch.testing.assert_close(ours.state_dict()[name], expected, rtol=1e-5, atol=1e-6)
    assert ours.state_dict()["num_batches_tracked"] == 1


def test_in_evaluation_nothing_differs() -> None:
    torchs, images = _norm().eval(), _images(5, 4, 3, 3)
    ours = _gathered(torchs)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    assert torch.equal(ours(images), torchs(images))
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_bfloat16_comes_out_as_it_went_in() -> None:
    """The statistics are taken in float32."""
    torchs, images = _norm(), _images(8, 4, 5, 6).bfloat16()
    ours = _gathered(torchs)
    expected = copy.deepcopy(torchs)(images.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(images)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)
    assert all(value.dtype == torch.float32 for value in ours.parameters())
    torchs(images.float())
    torch.testing.assert_close(ours.running_mean, torchs.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.running_var, torchs.running_var, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["small_cnn", "resnet18", "densenet121"])
def test_names_parameters_and_what_is_no_batch_normalisation_stay(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, 3, 10)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    kinds = {key: type(one) for key, one in model.named_modules()}
    synchronised = synchronise(model, CPU)
    assert list(synchronised.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in synchronised.state_dict().items())
    for key, one in synchronised.named_modules():
        assert (type(one) is kinds[key]) == (kinds[key] is not nn.BatchNorm2d)
    assert not any(type(one) is nn.BatchNorm2d for one in synchronised.modules())


def _steps(rank: int, ranks: int, size: int) -> dict[str, Tensor]:
    """Output, gradients and statistics of two steps on this rank's samples, the losses summed over the ranks."""
    norm = _norm().double()
    own = synchronise(nn.Sequential(norm), CPU)[0] if ranks > 1 else norm  # type: ignore[index]
    images = _images(size, 4, 3, 3).double()
    weights = torch.randn(images.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    mine, left = slice(rank, None, ranks), dict[str, Tensor]()
    for _step in range(2):
        given = images[mine].clone().requires_grad_()
        output = own(given)
        (output * weights[mine]).sum().backward()
        assert given.grad is not None
        left |= {"output": output.detach(), "images": given.grad}
    return left | {name: value.clone() for name, value in own.state_dict().items()} | _sums(own)


def _sums(norm: nn.Module) -> dict[str, Tensor]:
    return {
        f"{name}.grad": distributed.sum_over_ranks(one.grad.clone())
        for name, one in norm.named_parameters() if one.grad is not None
    }  # fmt: skip


SIZES = (6, 5)
RUNS = {"synchronised": True, "apart": False}


def _gang(rank: int, address: str, out: Path, config: TrialConfig) -> None:
    torch.set_num_threads(1)
    with distributed.process_group(rank, 2, address, CPU):
        left: dict[str, Any] = {f"steps {size}": _steps(rank, 2, size) for size in SIZES}
        for name, together in RUNS.items():
            left[name] = fit(config.replace(sync_batchnorm=together), out / name)
        # ten batches of 107, and one of 7: two micro-batches for the rank with 4, where the other has 3 samples
        uneven = config.replace(sync_batchnorm=True, batch_size=107, accumulate=2)
        left["uneven"] = fit(uneven, out / "uneven")
    (out / f"left-{rank}").write_bytes(pickle.dumps(left))


@pytest.fixture(scope="module")
def gang(two_ranks: Any, quick: Quick) -> tuple[Path, Any, Any]:
    """What the two ranks left."""
    left: tuple[Path, Any, Any] = two_ranks(_gang, quick(workers=2, epochs=1))
    return left


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_two_ranks_normalise_as_one(size: int, gang: Any) -> None:
    """Also where one has three samples and the other two."""
    alone = _steps(0, 1, size)
    for rank, left in enumerate(gang[1:]):
        found = left[f"steps {size}"]
        assert list(found) == list(alone)
        for name, value in found.items():
            expected = alone[name][rank::2] if name in ("output", "images") else alone[name]
            torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6, msg=name)


@pytest.mark.slow
def test_two_ranks_train_as_one_does(gang: Any, quick: Quick, tmp_path: Path) -> None:
    """An epoch on the digits: weights and statistics within 1e-4; without synchronisation they are others."""
    out, first, second = gang
    alone = fit(quick(epochs=1, batch_size=64), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    apart = {
        name: max((load_file(out / name / "model.safetensors")[key] - one).abs().max().item()
                  for key, one in weights.items() if one.is_floating_point())
        for name in RUNS
    }  # fmt: skip
    assert apart["synchronised"] < 1e-4
    assert apart["apart"] > 1e-3
    for left in (first, second):
        told = left["synchronised"].history[0]
        assert told.task_loss == pytest.approx(alone.history[0].task_loss, abs=1e-4)
        assert told.topographic_loss == pytest.approx(alone.history[0].topographic_loss, abs=1e-4)
        assert told.validation_loss == pytest.approx(alone.history[0].validation_loss, abs=1e-4)


@pytest.mark.slow
def test_ranks_of_different_sizes_divide_their_batches_alike(gang: Any) -> None:
    """Or the one would wait for statistics of a micro-batch that the other does not have."""
    _out, first, second = gang
    told = [replace(left["uneven"].history[0], seconds=0) for left in (first, second)]
    assert told[0] == told[1]
    assert 0 < told[0].validation_accuracy < 1


def test_it_is_the_ranks_that_are_synchronised(quick: Quick, tmp_path: Path) -> None:
    """One process with it is one process without: the same bits, under another identity."""
    plain, synchronised = quick(epochs=1), quick(epochs=1, sync_batchnorm=True)
    assert plain.hash != synchronised.hash
    results = [fit(config, tmp_path / config.hash) for config in (plain, synchronised)]
    assert results[0].history[0].task_loss == results[1].history[0].task_loss
    one, other = (load_file(tmp_path / config.hash / "model.safetensors") for config in (plain, synchronised))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
