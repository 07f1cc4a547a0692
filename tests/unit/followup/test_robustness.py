"""Measuring one checkpoint: what the rows say, and that they do not depend on how the work is cut up."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from topotune.config import TrialConfig
from topotune.data.batches import raw_batches
from topotune.data.splits import load_split
from topotune.errors import InputError
from topotune.folder import ROBUSTNESS_COLUMNS
from topotune.followup import adversarial, published, weights
from topotune.followup.confirm import evaluate_checkpoint
from topotune.followup.perturbations import PERTURBATIONS
from topotune.followup.robustness import Subject, corruption_accuracy, measure, open_subject, robustness_curve
from topotune.followup.tested import BLOCK, accuracy_under, perturbed
from topotune.training.fit import fit

Quick = Callable[..., TrialConfig]


@pytest.fixture(scope="module")
def checkpoint(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    fit(quick(epochs=4), folder)
    return folder


@pytest.fixture
def subject(checkpoint: Path) -> Subject:
    return open_subject(checkpoint, None)


def test_rows(subject: Subject, checkpoint: Path, quick: Quick) -> None:
    rows = list(measure(subject, "white"))
    assert tuple(rows[0]) == ROBUSTNESS_COLUMNS
    assert [row["level"] for row in rows] == [0.01, 0.05, 0.1, 0.15, 0.2]
    clean = evaluate_checkpoint(checkpoint, load_split("digits", "test")).accuracy
    for row in rows:
        assert (row["topography"], row["weight"], row["seed"], row["perturbation"]) == ("grid2d", 0.1, 0, "white")
        assert (row["draw"], row["source"], row["config_hash"]) == (0, "drawn", quick(epochs=4).hash)
        assert row["clean_accuracy"] == clean > 0.85
    assert rows[0]["accuracy"] >= rows[-1]["accuracy"]


@pytest.mark.parametrize("name", ["white", "glass_blur", "weight", "fgsm"])
def test_any_number_of_images_at_once_gives_the_same(subject: Subject, name: str) -> None:
    level = PERTURBATIONS[name].levels[2]
    every = {accuracy_under(replace(subject.tested, most=most), name, level) for most in (1, 7, 64, 512)}
    assert len(every) == 1


def test_the_images_are_the_same_again_and_other_in_another_draw(subject: Subject) -> None:
    def images(draw: int) -> Tensor:
        batches = perturbed(raw_batches(subject.tested.split, BLOCK), "pink", 0.1, draw)
        return torch.cat([one.images for one in batches])

    torch.manual_seed(99)
    first = images(0)
    assert torch.equal(first, images(0))
    assert not torch.equal(first, images(1))


def test_perturbed_weights(subject: Subject) -> None:
    before = {name: value.clone() for name, value in subject.tested.model.state_dict().items()}
    rows = list(measure(subject, "weight"))
    assert [(row["level"], row["draw"]) for row in rows] == [
        (step / 10, draw) for step in range(11) for draw in range(10)
    ]
    assert all(row["accuracy"] == row["clean_accuracy"] for row in rows if row["level"] == 0)
    strongest = [row["accuracy"] for row in rows if row["level"] == 1]
    assert len(set(strongest)) > 1  # drawn anew
    assert sum(strongest) / 10 < rows[0]["clean_accuracy"] - 0.1
    assert all(torch.equal(value, before[name]) for name, value in subject.tested.model.state_dict().items())


def test_what_comes_before_the_studied_layers_runs_once(quick: Quick, tmp_path: Path) -> None:
    fit(quick(epochs=1, layers="conv2"), tmp_path)
    subject = open_subject(tmp_path, None)
    wanted = PERTURBATIONS["weight"].levels[::5]
    expected = {level: accuracy_under(subject.tested, "weight", level) for level in wanted}
    assert len(set(expected.values())) == 3
    seen: list[int] = []
    conv1 = subject.tested.model.get_submodule("conv1")
    conv1.register_forward_pre_hook(lambda _layer, inputs: seen.append(len(inputs[0])))
    rows = list(measure(subject, "weight"))
    assert sum(seen) <= len(subject.tested.split) + 2  # of one image the shape is looked at, and the size
    first = {row["level"]: row["accuracy"] for row in rows if row["draw"] == 0}
    assert {level: first[level] for level in wanted} == expected


def test_weights_come_back_after_an_error() -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.clone()
    with weights.changed_weights([layer], lambda one: one * 2):
        assert torch.equal(layer.weight, before * 2)
    assert torch.equal(layer.weight, before)
    with pytest.raises(KeyError), weights.changed_weights([layer], lambda one: one * 2):
        raise KeyError
    assert torch.equal(layer.weight, before)


def test_quantisation_by_hand() -> None:
    """3 bits: 3 steps either side; the first channel's step is 0.9 / 3, the second's 0.03 / 3."""
    found = weights.quantise(torch.tensor([[0.9, 0.44, -0.46], [0.03, 0.004, -0.016]]), 3, torch.Generator())
    torch.testing.assert_close(found, torch.tensor([[0.9, 0.3, -0.6], [0.03, 0.0, -0.02]]))


def test_eight_bits_change_little_and_attacks_only_harm(subject: Subject) -> None:
    assert abs(next(measure(subject, "quantisation"))["accuracy"] - subject.clean) < 0.02
    for name in ("fgsm", "pgd"):
        curve = [row["accuracy"] for row in measure(subject, name)]
        assert all(one <= subject.clean for one in curve)
        assert curve[-1] < curve[0]
    assert accuracy_under(subject.tested, "pgd", 8) <= accuracy_under(subject.tested, "fgsm", 8) + 0.01


@pytest.mark.parametrize("attack", [adversarial.fgsm, adversarial.pgd])
def test_attacks_stay_within_the_ball_and_raise_the_loss(subject: Subject, attack: Callable[..., Tensor]) -> None:
    split, model = subject.tested.split, subject.tested.model
    images, labels = split.images[:40].float() / 255, split.labels[:40]

    def logits(some: Tensor) -> Tensor:
        found: Tensor = model((some - 0.3053) / 0.3760)
        return found

    found = attack(logits, images, labels, 4, torch.Generator().manual_seed(0))
    assert (found - images).abs().max() <= 4 / 255 + 1e-6
    assert 0 <= found.min() <= found.max() <= 1
    loss = nn.functional.cross_entropy
    with torch.no_grad():
        assert loss(logits(found), labels) > loss(logits(images), labels)
    assert all(one.grad is None for one in model.parameters())


def test_corruption_accuracy_is_the_mean_of_all_75(checkpoint: Path) -> None:
    found = corruption_accuracy(checkpoint, None, samples=60)
    tested = open_subject(checkpoint, None, "validation", 60).tested
    assert len(tested.split) == 60
    names = [name for name, one in PERTURBATIONS.items() if one.corruption]
    every = [accuracy_under(tested, name, level) for name in names for level in (1, 2, 3, 4, 5)]
    assert found == pytest.approx(sum(every) / 75)
    assert found == corruption_accuracy(checkpoint, None, samples=60)
    assert 0.1 < found < 1


def test_what_does_not_suit(subject: Subject, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'speed' is for sounds, and dataset 'digits' holds images"):
        next(measure(subject, "speed"))
    with pytest.raises(InputError, match=r"level 6 of 'fog' \(severity\) must be a whole number from 1 to 5"):
        accuracy_under(subject.tested, "fog", 6)
    split = subject.tested.split
    odd = replace(subject.tested, split=replace(split, entry=replace(split.entry, shape=(4, 8, 8))))
    with pytest.raises(InputError, match="'fog' needs grey or RGB images of at least 8x8 pixels, but dataset 'digits'"):
        next(measure(replace(subject, tested=odd), "fog"))
    with pytest.raises(InputError, match="no checkpoint at"):
        open_subject(tmp_path / "nowhere", None)


def test_published_arrays_are_read_where_they_are(subject: Subject, tmp_path: Path) -> None:
    test = subject.tested.split.take(torch.arange(20))
    labels = np.tile(test.labels.numpy(), 5).astype(np.uint8)
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1) * np.ones((1, 8, 8, 1), np.uint8)
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    assert published.published("fog", 3, "cifar10", test, tmp_path) is None
    np.save(folder / "fog.npy", images)
    np.save(folder / "labels.npy", labels)
    found = published.published("fog", 3, "cifar10", test, tmp_path)
    assert found is not None
    assert found.images[:, 0, 0, 0].tolist() == list(range(40, 60))
    assert published.published("fog", 3, "cifar100", test, tmp_path) is None
    assert published.published("white", 0.1, "cifar10", test, tmp_path) is None
    np.save(folder / "labels.npy", labels[::-1])
    with pytest.raises(InputError, match="does not hold the labels of the test part of 'cifar10'"):
        published.published("fog", 3, "cifar10", test, tmp_path)
    np.save(folder / "fog.npy", images[:50])
    with pytest.raises(
        InputError, match=r"fog\.npy holds uint8 \(50, 8, 8, 1\); it should hold uint8 \(100, 8, 8, 1\)"
    ):
        published.published("fog", 3, "cifar10", test, tmp_path)
    (folder / "fog.npy").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="cannot be read"):
        published.published("fog", 3, "cifar10", test, tmp_path)


def test_a_curve_is_the_mean_of_a_checkpoints_rows(subject: Subject) -> None:
    """Of the same network; and it stays as it is, in whatever mode its modules are."""
    model, split = subject.tested.model, subject.tested.split.take(torch.arange(50))
    few = replace(subject, tested=replace(subject.tested, split=split))
    for name in ("pink", "fgsm", "weight", "quantisation"):
        found = robustness_curve(model, name, split, layers=["conv1", "conv2"])
        rows = list(measure(few, name))
        expected = {
            level: pytest.approx(sum(own) / len(own))
            for level in PERTURBATIONS[name].levels
            if (own := [row["accuracy"] for row in rows if row["level"] == level])
        }
        assert found == expected
    model.train()
    model.get_submodule("conv1").eval()
    assert list(robustness_curve(model, "white", split, levels=[0.3, 0])) == [0.3, 0]
    assert model.training
    assert not model.get_submodule("conv1").training
    model.eval()


def test_a_curve_of_plain_tensors(subject: Subject) -> None:
    """A network that normalises by itself sees what another is given normalised."""

    class Normalise(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return (images - 0.3053) / 0.3760

    split = subject.tested.split
    own = nn.Sequential(Normalise(), subject.tested.model)
    for images in (split.images, split.images / 255):
        assert robustness_curve(own, "pink", (images, split.labels)) == robustness_curve(
            subject.tested.model, "pink", split
        )


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("whte", {}, "unknown perturbation 'whte'; choose from weight"),
        ("all", {}, "unknown perturbation 'all'"),
        ("white", {"levels": [0.1, 2]}, "level 2 of 'white'"),
        ("fog", {"levels": [1.5]}, "must be a whole number from 1 to 5"),
        ("weight", {"layers": "conv9"}, "no layer matches 'conv9'"),
        ("speed", {}, "'speed' is for sounds"),
    ],
)
def test_curves_that_cannot_be(subject: Subject, name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        robustness_curve(subject.tested.model, name, subject.tested.split, **options)


def test_samples_that_cannot_be(subject: Subject) -> None:
    images, labels = subject.tested.split.images / 255, subject.tested.split.labels
    for wrong, said in (
        ((images, labels[:9]), r"images \(360, 1, 8, 8\) and labels \(9,\): must be \(N, C, H, W\) and \(N,\)"),
        ((images[0], labels), r"must be \(N, C, H, W\)"),
        ((images * 3 - 1, labels), "images from -1 to 2: must be uint8, or floats from 0 to 1"),
        ((images * float("nan"), labels), "must be uint8"),
        ((images.expand(-1, 4, -1, -1), labels), "needs grey or RGB images"),
    ):
        with pytest.raises(InputError, match=said):
            robustness_curve(subject.tested.model, "fog", wrong)
