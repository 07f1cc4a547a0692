"""Cuts are tested without computing twice what none of them changes, and come to what the masked network gives."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from topotune.config import TrialConfig
from topotune.data import DATASETS
from topotune.data.batches import evaluation_batches
from topotune.data.splits import Split, load_split
from topotune.followup import ahead, masked
from topotune.followup.masked import Masked, zeroed
from topotune.followup.pruning import first_of, order_channels
from topotune.models.compact import compact
from topotune.models.topographic import build_model, select_layers
from topotune.topography.positions import positions
from topotune.training.checkpoint import load_model
from topotune.training.device import Precision
from topotune.training.fit import fit
from topotune.training.loop import evaluate

Quick = Callable[..., TrialConfig]
Cuts = list[dict[str, list[int]]]
FLOAT32, BFLOAT16 = (Precision(torch.device("cpu"), half) for half in (False, True))


@pytest.fixture(scope="module")
def trained(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    folder = tmp_path_factory.mktemp("run")
    fit(quick(epochs=3), folder)
    return load_model(folder)


def _cuts(layers: dict[str, nn.Module], steps: int) -> Cuts:
    order = order_channels(layers, "l1", 0, lambda _name, channels: positions("grid2d", channels))
    return [first_of(order, step / steps) for step in range(steps + 1)]


def _plain(
    model: nn.Module, layers: dict[str, nn.Module], cuts: Cuts, split: Split, precision: Precision
) -> list[float]:
    found = []
    for gone in cuts:
        with zeroed(layers, gone):
            found.append(evaluate(model, evaluation_batches(split, 100), precision).accuracy)
    return found


def _count(layer: nn.Module) -> list[int]:
    runs: list[int] = []
    layer.register_forward_hook(lambda _module, inputs, _output: runs.append(len(inputs[0])))
    return runs


@pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("names", [["conv2"], ["fc"]])
def test_what_comes_before_the_first_cut_is_computed_once(
    trained: nn.Module, names: list[str], precision: Precision
) -> None:
    split, layers = load_split("digits", "test"), select_layers(trained, names)
    cuts = _cuts(layers, 10)
    expected = _plain(trained, layers, cuts, split, precision)
    runs = _count(trained.get_submodule("conv1"))
    tester = Masked(trained, layers, split, precision, 100)
    assert [tester.accuracy(gone) for gone in cuts] == expected
    assert len(set(expected)) > 3
    assert sum(runs) <= len(split) + 2  # of one image the shape is looked at, and the size


def test_outputs_that_are_too_large_are_not_kept(trained: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "KEPT", 1000)
    split, layers = load_split("digits", "test"), select_layers(trained, ["conv2"])
    cuts, runs = _cuts(layers, 2), _count(trained.get_submodule("conv1"))
    tester = Masked(trained, layers, split, FLOAT32, 100)
    assert [tester.accuracy(gone) for gone in cuts] == _plain(trained, layers, cuts, split, FLOAT32)
    assert sum(runs) >= 6 * len(split)


def test_a_smaller_network_comes_to_the_same(trained: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masked, "WORTH", 0)
    split, layers = load_split("digits", "test"), select_layers(trained, ["conv1", "conv2"])
    cuts = _cuts(layers, 32)
    expected = _plain(trained, layers, cuts, split, FLOAT32)
    runs = _count(trained.get_submodule("conv2"))
    tester = Masked(trained, layers, split, FLOAT32, 100)
    assert [tester.accuracy(gone) for gone in cuts] == expected
    # the whole network ran where a smaller one saves little: in nothing but the first few cuts
    assert sum(runs) <= 4 * len(split)
    half = Masked(trained, layers, split, BFLOAT16, 100)  # where rounding would differ, it is the masked one always
    assert [half.accuracy(gone) for gone in cuts[::8]] == _plain(trained, layers, cuts[::8], split, BFLOAT16)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vgg16", "densenet121"])
def test_large_networks_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of random weights: as many images as there can be near ties of."""
    monkeypatch.setattr(masked, "WORTH", 0)
    torch.manual_seed(0)
    model = build_model(name, 3, 10).eval()
    images = torch.randint(256, (64, 3, 32, 32), dtype=torch.uint8)
    split = Split(images, torch.randint(10, (64,)), "", DATASETS["cifar10"])
    layers = select_layers(model)
    cuts = [_cuts(layers, 4)[1], _cuts(layers, 4)[3]]
    tester = Masked(model, layers, split, FLOAT32, 64)
    assert [tester.accuracy(gone) for gone in cuts] == _plain(model, layers, cuts, split, FLOAT32)


def test_a_smaller_network_that_cannot_pay_is_not_made(trained: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for one, which shows what there is to gain."""
    made: list[int] = []

    def counted(model: nn.Module, gone: dict[str, list[int]], image: torch.Tensor) -> nn.Module:
        made.append(sum(map(len, gone.values())))
        return compact(model, gone, image)

    monkeypatch.setattr(masked, "WORTH", 0)
    monkeypatch.setattr(masked, "compact", counted)
    split, layers = load_split("digits", "test"), select_layers(trained, ["conv1", "conv2"])
    tester = Masked(trained, layers, split, FLOAT32, 100)
    for few in ({"conv1": [0], "conv2": []}, {"conv1": [0], "conv2": [0, 1, 2]}):
        tester.accuracy(few)
    assert made == [96]
    tester.accuracy({"conv1": [0, 1, 2, 3], "conv2": []})
    assert made == [96, 4]
