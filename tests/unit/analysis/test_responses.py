"""Responses of trained networks: what is caught of which layer, however the work is cut up."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from topotune.analysis.analyses import Settings
from topotune.analysis.responses import Subject, open_subject, some_of
from topotune.analysis.stimuli import gratings, spots
from topotune.config import TrialConfig
from topotune.data import DATASETS
from topotune.data.batches import normalise
from topotune.data.splits import Split, load_split
from topotune.errors import InputError
from topotune.models.topographic import build_model
from topotune.training.device import Precision
from topotune.training.fit import fit

Quick = Callable[..., TrialConfig]


@pytest.fixture(scope="module")
def checkpoint(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    fit(quick(model="mnist_cnn", loss="as", epochs=1), folder)
    return folder


@pytest.fixture
def subject(checkpoint: Path) -> Subject:
    return open_subject(checkpoint, None, ("conv2", "fc1"), Settings())


def test_by_hand(subject: Subject) -> None:
    """A unit's output before the ReLU, a channel's spatial mean, of all images in order."""
    network, test = subject.model, load_split("digits", "test")
    with torch.no_grad():
        images = normalise(test.images, test.entry)
        channels = network.conv2(network.pool1(network.relu1(network.conv1(images))))  # type: ignore[operator]
        pooled = network.average(network.pool2(network.relu2(channels))).flatten(1)  # type: ignore[operator]
        units = network.fc1(pooled)  # type: ignore[operator]
    np.testing.assert_allclose(subject.responses("images", "conv2"), channels.mean((2, 3)).numpy(), atol=1e-5)
    np.testing.assert_allclose(subject.responses("images", "fc1"), units.numpy(), atol=1e-5)
    assert (units < 0).any()
    found = subject.units("conv2")
    assert np.array_equal(found.labels, test.labels.numpy())
    assert found.weights.shape == (64, 32 * 9)
    assert subject.units("fc1").count == 121


@pytest.mark.parametrize("stimulus", ["images", "mirrored", "gratings", "spots", "validation"])
def test_any_number_of_images_at_once_gives_the_same(subject: Subject, stimulus: str) -> None:
    one, other = (replace(subject, most=most, _kept={}).responses(stimulus, "fc1") for most in (7, 512))
    np.testing.assert_allclose(one, other, atol=1e-5)
    shape = {"gratings": (16, 5, 8, 121), "spots": (8, 8, 121)}.get(stimulus, (360, 121))
    assert one.shape == shape


def test_stimuli_reach_the_network_as_they_should(subject: Subject) -> None:
    """Mirrored: the image turned round; gratings: in the data set's normalisation; spots: less the background."""
    test = subject.split
    with torch.no_grad():
        turned = replace(test, images=test.images.flip(-1))
        mirrored = replace(subject, split=turned, _kept={}).responses("images", "fc1")
        pictures = next(gratings(8, 8)).unsqueeze(1)
        drawn = subject.model.conv1(normalise(pictures, test.entry)).mean((2, 3))  # type: ignore[operator]
        first = replace(subject, layers={"conv1": subject.model.conv1}, _kept={})  # type: ignore[dict-item]
    np.testing.assert_allclose(subject.responses("mirrored", "fc1"), mirrored, atol=1e-5)
    np.testing.assert_allclose(first.responses("gratings", "conv1")[0].reshape(40, 32), drawn.numpy(), atol=1e-5)
    # at distance 0 all directions are the same
    seen = first.responses("spots", "conv1")
    np.testing.assert_allclose(seen[0], seen[0, :1].repeat(8, 0), atol=1e-5)
    assert np.abs(seen[0]).max() > 0.01


def test_some_images_are_drawn_once_for_all() -> None:
    test = load_split("digits", "test")
    few = some_of(test, 50)
    assert len(few) == 50
    assert torch.equal(few.images, some_of(test, 50).images)
    assert len(set(few.labels.tolist())) == 10
    assert some_of(test, 0) is some_of(test, 360) is test


def test_colour_images(quick: Quick) -> None:
    """Gratings are grey; a spot is laid over the data set's mean, which is 0 once normalised."""
    entry = DATASETS["cifar10"]
    images = torch.randint(256, (12, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    split = Split(images, torch.arange(12) % 10, "checksum", entry)
    network = build_model("cifar_cnn", 3, 10).eval()
    layers = {"conv1": network.conv1, "fc1": network.fc1}
    precision = Precision(torch.device("cpu"), bfloat16=False)
    subject = Subject(quick(), network, layers, split, precision, 16, Settings())  # type: ignore[arg-type]
    assert subject.units("fc1").responses.shape == (12, 121)
    assert subject.units("conv1").weights.shape == (32, 27)
    with torch.no_grad():
        grey = normalise(next(gratings(32, 32)).unsqueeze(1).repeat(1, 3, 1, 1), entry)
        drawn = network.conv1(grey).mean((2, 3))  # type: ignore[operator]
        spot = next(spots(32, 32))[:1].unsqueeze(1)
        mean, std = (torch.tensor(one).view(3, 1, 1) for one in (entry.mean, entry.std))
        lit = network.conv1(spot * (1 - mean) / std) - network.conv1.bias.view(-1, 1, 1)  # type: ignore[operator,union-attr]
    np.testing.assert_allclose(subject.responses("gratings", "conv1")[0].reshape(40, 32), drawn.numpy(), atol=1e-5)
    np.testing.assert_allclose(subject.responses("spots", "conv1")[0, 0], lit.mean((2, 3))[0].numpy(), atol=1e-5)


def test_every_window_of_a_sound_has_its_clips_class(quick: Quick) -> None:
    """Clips of 5, 13 and 9 frames hold one, three and two windows of 5 frames, which share their outermost ones."""
    frames = torch.randn(27, 8, generator=torch.Generator().manual_seed(0)).half()
    clips, labels = torch.tensor([[0, 5], [5, 13], [18, 9]]), torch.tensor([4, 7, 2])
    entry = replace(DATASETS["digits"], shape=(1, 8, 5))
    split = Split(frames, labels, "checksum", entry, clips)
    network = build_model("small_cnn", 1, 10)
    precision = Precision(torch.device("cpu"), bfloat16=False)
    subject = Subject(quick(), network, {"conv1": network.conv1}, split, precision, 512, Settings())  # type: ignore[dict-item]
    units = subject.units("conv1")
    assert units.labels.tolist() == [4, 7, 7, 7, 2, 2]
    assert units.responses.shape == (6, 32)
    with torch.no_grad():
        last = normalise(frames[22:27].T[None, None], entry)
        np.testing.assert_allclose(units.responses[5], network.conv1(last).mean((2, 3))[0].numpy(), atol=1e-5)  # type: ignore[operator]


def test_what_cannot_be_studied(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no layer matches 'fc7'"):
        open_subject(checkpoint, None, ["fc7"], Settings())
    with pytest.raises(InputError, match=r"layer 'relu3' \(ReLU\) has no units with incoming weights"):
        open_subject(checkpoint, None, ["relu3"], Settings()).units("relu3")
    with pytest.raises(InputError, match="no checkpoint at"):
        open_subject(tmp_path / "nowhere", None, ["fc1"], Settings())
