"""Positions that a trial hands out itself: on which images they are judged, and what is kept of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from topotune.config import TrialConfig
from topotune.data import DATASETS
from topotune.data.batches import normalise
from topotune.data.splits import Split, load_split
from topotune.errors import InputError
from topotune.models.topographic import build_model
from topotune.topography.positions import positions
from topotune.topography.targets import target_similarity
from topotune.training.arrangement import Arranger, hold_out, kept_permutations, topography_of
from topotune.training.device import Precision

Quick = Callable[..., TrialConfig]
CPU = Precision(torch.device("cpu"), bfloat16=False)
DIGITS = DATASETS["digits"]


def _numbered(size: int) -> Split:
    """A split whose images and labels are their own numbers."""
    index = torch.arange(size)
    return Split(index.view(-1, 1, 1, 1), index, "checksum", DIGITS)


@pytest.mark.parametrize(("size", "held"), [(2, 1), (19, 1), (40, 2), (1077, 53), (5120, 256), (45000, 256)])
def test_some_images_are_held_out(size: int, held: int) -> None:
    """One in twenty, at least one, at most 256; no image is in both parts, none is lost, none gets another label."""
    rest, probe = hold_out(_numbered(size), seed=3)
    assert (len(rest), len(probe)) == (size - held, held)
    both = torch.cat([rest.labels, probe.labels])
    assert both.sort().values.tolist() == list(range(size))
    for part in (rest, probe):
        assert torch.equal(part.images.flatten(), part.labels)
        assert torch.equal(part.labels, part.labels.sort().values)
        assert part.checksum == "checksum"


def test_which_ones_depends_on_the_seed_alone() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (hold_out(_numbered(400), seed)[1].labels.tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_trials_topography(quick: Quick, reduction: str) -> None:
    """Its targets are those of the layers, its settings those of the trial; looking at the model leaves no trace."""
    config = quick(
        model="resnet18", topography="circle-learned", distance="l1", layer_reduction=reduction, weight=3.0, radius=1.0
    )
    model = build_model("resnet18", 3, 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    topography = topography_of(config, model)
    assert list(topography.layers) == ["conv1", *(f"layer{stage}.1.conv2" for stage in (1, 2, 3, 4))]
    assert topography.weight == 3.0
    for name, channels in zip(topography.layers, (64, 64, 128, 256, 512), strict=True):
        expected = target_similarity(positions("circle", channels, radius=1.0), "l1").float()
        made = topography.geometry(name, torch.zeros(1, channels, 2, 2)).matrix
        assert made.dtype == torch.float32
        assert torch.equal(made, expected.fill_diagonal_(0))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_layers_and_loss_of_a_trial(quick: Quick) -> None:
    config = quick(model="mnist_cnn", loss="ws", layers="code")
    assert list(topography_of(config, build_model("mnist_cnn", 1, 10)).layers) == ["fc1"]
    config = config.replace(layers="conv2, fc?", loss="channel")
    assert list(topography_of(config, build_model("mnist_cnn", 1, 10)).layers) == ["conv2", "fc1", "fc2"]
    with pytest.raises(InputError, match=r"^model 'mnist_cnn': layers = 'conv9': no layer matches 'conv9'"):
        topography_of(config.replace(layers="conv9"), build_model("mnist_cnn", 1, 10))


def _arranger(config: TrialConfig) -> tuple[nn.Module, Arranger, Split, Any]:
    torch.manual_seed(5)
    model = build_model(config.model, 1, 10)
    _rest, probe = hold_out(load_split("digits", "train"), config.seed)
    topography = topography_of(config, model)
    return model, Arranger(config, topography, probe), probe, topography


def test_when_channels_swap(quick: Quick) -> None:
    settings = {"topography": "grid2d-learned", "swap_every": 3, "epochs": 9}
    _model, arranger, _probe, _topography = _arranger(quick(**settings))
    assert [epoch for epoch in range(9) if arranger.due(epoch)] == [0, 3, 6]
    _model, arranger, _probe, _topography = _arranger(quick(topography="grid2d-assigned", weight=0.0))
    assert not any(arranger.due(epoch) for epoch in range(9))  # that is done at the end


@pytest.mark.parametrize("loss", ["channel", "ws", "as", "as_global"])
@pytest.mark.parametrize("way", ["learned", "assigned"])
def test_a_round(loss: str, way: str, quick: Quick, tmp_path: Path) -> None:
    """It lowers the loss of the held-out images in evaluation mode, and changes nothing else."""
    weight = 0.1 if way == "learned" else 0.0
    config = quick(topography=f"grid2d-{way}", weight=weight, loss=loss)
    model, arranger, probe, topography = _arranger(config)
    images = normalise(probe.images, DIGITS)

    def value() -> float:
        model.eval()
        with torch.no_grad(), topography:
            model(images)
            found: float = topography.value().item()
        model.train()
        return found

    model.train()
    before, state = value(), {name: one.clone() for name, one in model.state_dict().items()}
    arranger.arrange(model, CPU, 4)
    gain = sum(one["loss_before"] - one["loss_after"] for one in arranger.rounds)
    assert model.training
    assert all(torch.equal(one, state[name]) for name, one in model.state_dict().items())
    assert gain == pytest.approx(before - value(), rel=1e-3, abs=1e-6)
    assert gain > 0
    assert [(one["epoch"], one["layer"]) for one in arranger.rounds] == [(4, "conv1"), (4, "conv2")]
    assert any(one["moved"] for one in arranger.rounds)

    # what is written is enough to go on from
    arranger.save(tmp_path)
    written = json.loads((tmp_path / "arrangement.json").read_text())
    assert set(written) == {"topography", "rounds"}
    assert written["topography"] == config.topography
    keys = {"epoch", "layer", "loss_before", "loss_after", "moved", "permutation"}
    assert all(set(one) == keys for one in written["rounds"])
    _model, again, _probe, other = _arranger(config)
    again.resume(written["rounds"])
    assert again.rounds == arranger.rounds
    assert {name: order.tolist() for name, order in other.permutations.items()} == {
        name: order.tolist() for name, order in topography.permutations.items()
    }


def test_the_last_of_several_rounds_counts(quick: Quick) -> None:
    model, arranger, _probe, topography = _arranger(quick(topography="grid2d-learned"))
    arranger.arrange(model, CPU, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    arranger.arrange(model, CPU, 5)
    assert [one["epoch"] for one in arranger.rounds] == [0, 0, 5, 5]
    fresh, (one, other) = arranger.rounds[2:], topography.permutations.values()
    assert [one.tolist(), other.tolist()] == [last["permutation"] for last in fresh]
    assert arranger.rounds[0]["permutation"] != fresh[0]["permutation"]


@pytest.mark.parametrize(("topography", "epoch"), [("grid2d-learned", 4), ("grid2d-assigned", 6)])
def test_positions_are_those_of_the_weights_that_were_kept(
    quick: Quick, tmp_path: Path, topography: str, epoch: int
) -> None:
    """Learned ones of the last round before the end of the best epoch, the fifth; assigned ones of the end."""
    config = quick(topography=topography, weight=0.0 if "assigned" in topography else 0.1)
    assert kept_permutations(tmp_path, config) == {}
    rounds = [{"epoch": at, "layer": "conv1", "permutation": [at, 0]} for at in (0, 4, 5, 6)]
    (tmp_path / "arrangement.json").write_text(json.dumps({"topography": topography, "rounds": rounds}))
    assert kept_permutations(tmp_path, config)["conv1"].tolist() == [6, 0]  # not finished: nothing else is known
    result = {
        "config_hash": config.hash, "validation_accuracy": 0.5, "best_epoch": 5, "epochs": 6, "seconds": 1.0,
        "data_checksum": "checksum", "history": [],
    }  # fmt: skip
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert kept_permutations(tmp_path, config)["conv1"].tolist() == [epoch, 0]
