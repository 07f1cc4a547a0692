"""Pruning: which channels go, that they all come back, and what is left at 0 and 1."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.prune import ln_structured

from topotune.config import TrialConfig
from topotune.data.splits import load_split
from topotune.errors import InputError
from topotune.followup import masked, pruning
from topotune.followup.confirm import evaluate_checkpoint
from topotune.followup.criteria import CRITERIA
from topotune.followup.masked import zeroed
from topotune.followup.pruning import (
    SCOPES,
    Cut,
    PruneJob,
    first_of,
    order_channels,
    prune_channels,
    prune_one,
    pruned_accuracy,
)
from topotune.search import options
from topotune.topography.positions import positions
from topotune.training.fit import fit
from topotune.training.loop import Evaluation

Quick = Callable[..., TrialConfig]


@contextmanager
def pruned(layers: Sequence[nn.Module], proportion: float, criterion: str = "l2") -> Iterator[None]:
    named = {str(place): layer for place, layer in enumerate(layers)}
    order = order_channels(named, criterion, 0, lambda _name, channels: positions("grid2d", channels))
    with zeroed(named, first_of(order, proportion)):
        yield


def weakest_channels(layer: nn.Module, proportion: float) -> Tensor:
    order = order_channels({"a": layer}, "l2", 0, lambda _name, channels: positions("grid2d", channels))
    return order["a"][: round(proportion * len(order["a"]))]


def _layer(norms: list[float], *, bias: bool = True) -> nn.Conv2d:
    """A convolution whose output channels have these L2 norms: all of it in one weight each, at different places."""
    layer = nn.Conv2d(2, len(norms), 3, bias=bias)
    with torch.no_grad():
        layer.weight.zero_()
        for channel, norm in enumerate(norms):
            layer.weight[channel].view(-1)[channel % 18] = norm * (-1) ** channel
        if layer.bias is not None:
            layer.bias.copy_(torch.arange(1.0, len(norms) + 1))
    return layer


def _dead(layer: nn.Conv2d) -> list[int]:
    return [channel for channel in range(layer.out_channels) if (layer.weight[channel] == 0).all()]


@pytest.mark.parametrize(
    ("proportion", "gone"),
    [(0, []), (0.2, [2]), (0.25, [2]), (0.4, [0, 2]), (0.6, [0, 2, 4]), (0.9, [0, 1, 2, 4]), (1, [0, 1, 2, 3, 4])],
)
def test_the_weakest_go_and_all_come_back(proportion: float, gone: list[int]) -> None:
    """round(0.25 · 5) = 1, round(0.9 · 5) = round(4.5) = 4: halves go to the even number, as in torch's pruning."""
    layer = _layer([2.0, 4.0, 1.0, 5.0, 3.0])
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    parameters = [id(parameter) for parameter in layer.parameters()]
    with pruned([layer], proportion):
        assert _dead(layer) == gone
        assert layer.bias is not None
        assert [channel for channel in range(5) if layer.bias[channel] == 0] == gone
        kept = [channel for channel in range(5) if channel not in gone]
        assert torch.equal(layer.weight[kept], before["weight"][kept])
        assert torch.equal(layer.bias[kept], before["bias"][kept])
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert [id(parameter) for parameter in layer.parameters()] == parameters
    assert all(parameter.requires_grad for parameter in layer.parameters())


def test_all_weights_of_a_channel_count() -> None:
    """L2, not L1 and not the greatest weight: norms 5, √27 and 6."""
    layer = nn.Conv2d(1, 3, 3, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0].view(-1)[:2] = torch.tensor([3.0, 4.0])  # L1 7
        layer.weight[1].view(-1)[:3] = 3.0  # L1 9, greatest 3
        layer.weight[2].view(-1)[0] = -6.0  # L1 6
    assert weakest_channels(layer, 1).tolist() == [0, 1, 2]


def test_of_equals_the_first_go() -> None:
    assert weakest_channels(_layer([1.0, 2.0, 1.0, 1.0]), 0.5).tolist() == [0, 2]


def test_every_layer_is_pruned_by_itself() -> None:
    strong, weak, plain = _layer([10.0, 11.0]), _layer([1.0, 2.0, 3.0, 4.0]), _layer([2.0, 1.0], bias=False)
    with pruned([strong, weak, plain], 0.5):
        assert [_dead(layer) for layer in (strong, weak, plain)] == [[0], [0, 1], [1]]
    assert [_dead(layer) for layer in (strong, weak, plain)] == [[], [], []]


def test_they_come_back_after_an_error() -> None:
    layer = _layer([1.0, 2.0])
    with pytest.raises(KeyError), pruned([layer], 1):
        raise KeyError
    assert _dead(layer) == []


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(0, 100), st.integers(0, 1000))
def test_as_many_and_the_same_as_torchs_own_structured_pruning(channels: int, percent: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer, proportion = nn.Conv2d(3, channels, 3), percent / 100
    theirs = nn.Conv2d(3, channels, 3)
    theirs.load_state_dict(layer.state_dict())
    ln_structured(theirs, "weight", amount=proportion, n=2, dim=0)
    expected = [channel for channel in range(channels) if (theirs.weight[channel] == 0).all()]
    with pruned([layer], proportion):
        assert _dead(layer) == expected


@pytest.mark.parametrize("proportion", [-0.01, 1.01, float("nan"), float("inf")])
def test_proportions_out_of_range(proportion: float) -> None:
    with (
        pytest.raises(InputError, match="is out of range; it must be from 0 to 1"),
        pruned([_layer([1.0])], proportion),
    ):
        pass


def test_a_curve_begins_at_the_test_accuracy_and_ends_at_chance(quick: Quick, tmp_path: Path) -> None:
    config = quick(epochs=3)
    fit(config, tmp_path)
    rows = prune_one(PruneJob(tmp_path, None, (Cut(0.0), Cut(0.5), Cut(1.0))))
    assert [row["proportion"] for row in rows] == [0.0, 0.5, 1.0]
    split = load_split("digits", "test")
    assert rows[0]["accuracy"] == evaluate_checkpoint(tmp_path, split).accuracy > 0.85
    # nothing of the image is left: the same class for all
    assert rows[2]["accuracy"] in [(split.labels == digit).double().mean().item() for digit in range(10)]
    assert rows[2]["accuracy"] < rows[1]["accuracy"] < rows[0]["accuracy"]
    for row in rows:
        assert (row["topography"], row["weight"], row["seed"], row["config_hash"]) == ("grid2d", 0.1, 0, config.hash)


def test_a_pruned_channel_is_gone_from_the_output() -> None:
    layer = _layer([2.0, 1.0])
    images: Tensor = torch.randn(2, 2, 5, 5)
    with pruned([layer], 0.5), torch.no_grad():
        output = layer(images)
    assert (output[:, 1] == 0).all()
    assert output[:, 0].abs().sum() > 0


def test_the_study_file_knows_the_same_words() -> None:
    assert tuple(CRITERIA) == options.CRITERIA
    assert SCOPES == options.SCOPES


def test_every_way_of_pruning_begins_at_the_same_accuracy(quick: Quick, tmp_path: Path) -> None:
    fit(quick(epochs=3), tmp_path)
    cuts = [Cut(proportion, name, scope) for name in CRITERIA for scope in SCOPES for proportion in (0.0, 0.5, 1.0)]
    rows = prune_one(PruneJob(tmp_path, None, tuple(cuts)))
    assert [Cut.of(row) for row in rows] == cuts
    assert len({row["accuracy"] for row in rows if row["proportion"] == 0}) == 1
    assert len({row["accuracy"] for row in rows if row["proportion"] == 1}) == 1
    assert len({row["accuracy"] for row in rows if row["proportion"] == 0.5}) > 2
    # one criterion at a time gives what all together do: nothing of the one is left when the next begins
    for row in rows:
        assert prune_one(PruneJob(tmp_path, None, (Cut.of(row),))) == [row]


def test_training_on_helps_and_leaves_the_gone_at_zero(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(quick(epochs=3), tmp_path)
    dead: list[list[int]] = []
    for module in (masked, pruning):
        monkeypatch.setattr(module, "evaluate", _noting(module.evaluate, dead))
    plain, tuned, again = prune_one(PruneJob(tmp_path, None, (Cut(0.5), Cut(0.5, finetune_epochs=3), Cut(0.0))))
    assert tuned["accuracy"] > plain["accuracy"] + 0.05
    assert dead[0] == dead[1]
    assert len(dead[0]) == 16
    assert again["accuracy"] == prune_one(PruneJob(tmp_path, None, (Cut(0.0),)))[0]["accuracy"]


def _noting(function: Callable[..., Evaluation], dead: list[list[int]]) -> Callable[..., Evaluation]:
    def evaluate(model: nn.Module, *arguments: Any) -> Evaluation:
        dead.append(_dead(model.get_submodule("conv1")))  # type: ignore[arg-type]
        return function(model, *arguments)

    return evaluate


def test_one_number_for_a_curve(quick: Quick, tmp_path: Path) -> None:
    fit(quick(), tmp_path)
    rows = prune_one(PruneJob(tmp_path, None, (Cut(0.0), Cut(0.5))))
    mean = pruned_accuracy(tmp_path, part="test", proportions=(0.0, 0.5))
    assert mean == pytest.approx((rows[0]["accuracy"] + rows[1]["accuracy"]) / 2, abs=1e-12)
    assert pruned_accuracy(tmp_path) != pruned_accuracy(tmp_path, part="test")
    with pytest.raises(InputError, match="no proportion to prune by"):
        pruned_accuracy(tmp_path, proportions=())


def test_pruning_any_network() -> None:
    network = nn.Sequential(_layer([2.0, 1.0, 3.0, 4.0]), nn.Flatten())
    assert prune_channels(network, 0.5) == {"0": [0, 1]}
    assert _dead(network[0]) == [0, 1]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown criterion 'l3'"):
        prune_channels(network, 0.5, criterion="l3")
