"""Whole runs on the embedded digits: they learn, repeat to the bit, go on after an interruption, and fail in words."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from topotune.config import TrialConfig
from topotune.data import DATASETS
from topotune.data.batches import Batch, normalise, training_batches
from topotune.data.speech import FOLDER
from topotune.data.splits import load_split
from topotune.errors import InputError
from topotune.files import read_csv
from topotune.load import load_checkpoint
from topotune.losses.strength import weight_factor
from topotune.models.topographic import build_model
from topotune.topography import arrangement_of
from topotune.training.arrangement import hold_out, topography_of
from topotune.training.device import pick_device
from topotune.training.fit import fit
from topotune.training.launch import train
from topotune.training.loop import Evaluation
from topotune.training.records import EpochMetrics, TrainingDiverged, TrialResult, read_result
from topotune.training.schedule import warmup_cosine

Quick = Callable[..., TrialConfig]
FILES = {
    "config.json", "model.safetensors", "last/state.pt", "last/previous.pt", "metrics.csv", "result.json",
}  # fmt: skip


class Stop(Exception):
    """What a test stops a run with."""


def _stop_at(epoch: int) -> Callable[[EpochMetrics], None]:
    def report(metrics: EpochMetrics) -> None:
        if metrics.epoch == epoch:
            raise Stop

    return report


def _untimed(metrics: EpochMetrics) -> dict[str, Any]:
    return {name: value for name, value in asdict(metrics).items() if name != "seconds"}


def _history(result: TrialResult) -> list[dict[str, Any]]:
    return [_untimed(one) for one in result.history]


def _same_weights(one: Path, other: Path) -> None:
    """Every tensor of the two files alike to the bit; safetensors shuffles the few words of its header."""
    first, second = (load_file(out / "model.safetensors") for out in (one, other))
    assert list(first) == list(second)
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert tensor.numpy().tobytes() == second[name].numpy().tobytes(), name


def _table(out: Path) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in read_csv(out / "metrics.csv")
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["small_cnn", "mnist_cnn"])
def whole(request: pytest.FixtureRequest, quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of three epochs that nothing interrupted; mnist_cnn has dropout."""
    config, out = quick(model=request.param, epochs=3), tmp_path_factory.mktemp("whole")
    return config, out, fit(config, out)


def test_a_run_learns_and_leaves_what_it_should(quick: Quick, tmp_path: Path) -> None:
    told: list[EpochMetrics] = []
    config = quick(epochs=5)
    result = fit(config, tmp_path, report=told.append)
    assert result.validation_accuracy > 0.9
    assert tuple(told) == result.history
    assert [one.epoch for one in told] == [1, 2, 3, 4, 5]
    assert told[-1].task_loss < told[0].task_loss / 2
    assert told[-1].topographic_loss < told[0].topographic_loss
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == FILES
    assert result.validation_accuracy == max(one.validation_accuracy for one in told)
    best = next(one for one in told if one.validation_accuracy == result.validation_accuracy)
    assert result.best_epoch == best.epoch  # the first of equals
    assert (result.epochs, result.config_hash) == (5, config.hash)
    assert result.seconds == sum(one.seconds for one in told)
    assert read_result(tmp_path) == result
    assert _table(tmp_path) == _history(result)
    assert json.loads((tmp_path / "config.json").read_text()) == config.to_dict()


def test_the_topographic_loss_is_what_the_weight_presses_down(quick: Quick, tmp_path: Path) -> None:
    light, heavy = (
        fit(quick(weight=weight, epochs=2), tmp_path / str(weight)).history[-1].topographic_loss
        for weight in (1e-6, 2.0)
    )
    assert heavy < light / 2


def test_the_same_run_twice_is_the_same_to_the_bit(whole: Any, tmp_path: Path) -> None:
    config, out, result = whole
    torch.manual_seed(99)  # of no consequence
    again = fit(config, tmp_path)
    assert _history(again) == _history(result)
    _same_weights(tmp_path, out)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"weight": 0.2}, {"topography": "line"}, {"batch_size": 65}])
def test_another_setting_is_another_run(changes: dict[str, Any], whole: Any, tmp_path: Path) -> None:
    config, _out, result = whole
    with pytest.raises(Stop):
        fit(config.replace(**changes), tmp_path, report=_stop_at(1))
    assert _table(tmp_path)[0]["task_loss"] != result.history[0].task_loss


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_run_goes_on_to_the_same_bits(epoch: int, whole: Any, tmp_path: Path) -> None:
    config, out, result = whole
    with pytest.raises(Stop):
        fit(config, tmp_path, report=_stop_at(epoch))
    assert not (tmp_path / "result.json").exists()
    assert len(_table(tmp_path)) == epoch
    told: list[EpochMetrics] = []
    again = fit(config, tmp_path, report=told.append)
    assert _history(again) == _history(result)
    assert [one.epoch for one in told] == [1, 2, 3]  # those from before are told again
    assert _table(tmp_path) == _table(out)
    _same_weights(tmp_path, out)


def test_an_epoch_that_was_half_written_is_done_again(whole: Any, tmp_path: Path) -> None:
    """A crash between the epoch's files: the best weights and the table are newer than the state."""
    config, out, result = whole
    with pytest.raises(Stop):
        fit(config, tmp_path / "run", report=_stop_at(1))
    shutil.copytree(tmp_path / "run", tmp_path / "old")
    with pytest.raises(Stop):
        fit(config, tmp_path / "run", report=_stop_at(2))
    shutil.copy(tmp_path / "old" / "last" / "state.pt", tmp_path / "run" / "last" / "state.pt")
    (tmp_path / "run" / "last" / ".state.pt.abcdef").write_bytes(b"half")  # a writer that was killed
    assert _history(fit(config, tmp_path / "run")) == _history(result)
    _same_weights(tmp_path / "run", out)


def test_a_finished_run_is_only_read(whole: Any) -> None:
    config, out, result = whole
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()}
    told: list[EpochMetrics] = []
    assert fit(config, out, report=told.append) == result
    assert tuple(told) == result.history
    assert train(config.replace(device="auto", threads=0), out) == result
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()} == before


def test_a_folder_belongs_to_one_trial(whole: Any) -> None:
    config, out, _result = whole
    with pytest.raises(InputError, match=r"holds another trial.*they differ in weight, seed") as error:
        fit(config.replace(seed=5, weight=0.3), out)
    assert str(out) in str(error.value)
    # the control's topographic settings are no difference
    control = TrialConfig(epochs=1)
    assert control.hash == control.replace(distance="l1", layer_reduction="mean").hash


def _damage_config(out: Path) -> Path:
    (out / "config.json").write_text('{"epochs": 3')
    return out / "config.json"


def _list_config(out: Path) -> Path:
    (out / "config.json").write_text("[]")
    return out / "config.json"


def _old_config(out: Path) -> Path:
    (out / "config.json").write_text('{"epoch": 3}')
    return out / "config.json"


def _truncate_state(out: Path) -> Path:
    os.truncate(out / "last" / "state.pt", (out / "last" / "state.pt").stat().st_size // 2)
    return out / "last" / "state.pt"


def _empty_state(out: Path) -> Path:
    (out / "last" / "state.pt").write_bytes(b"")
    return out / "last" / "state.pt"


def _list_state(out: Path) -> Path:
    torch.save([1, 2], out / "last" / "state.pt")
    return out / "last" / "state.pt"


def _foreign_state(out: Path) -> Path:
    state = torch.load(out / "last" / "state.pt", weights_only=True)
    torch.save(state | {"config_hash": "0123456789abcdef"}, out / "last" / "state.pt")
    return out / "last" / "state.pt"


@pytest.mark.parametrize(
    "damage",
    [_damage_config, _list_config, _old_config, _truncate_state, _empty_state, _list_state, _foreign_state],
)
def test_damaged_files_are_named(damage: Callable[[Path], Path], quick: Quick, tmp_path: Path) -> None:
    config = quick(epochs=2)
    with pytest.raises(Stop):
        fit(config, tmp_path, report=_stop_at(1))
    path = damage(tmp_path)
    with pytest.raises(InputError) as error:
        fit(config, tmp_path)
    assert str(path) in str(error.value)


def test_a_damaged_result_is_named(quick: Quick, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"config')
    with pytest.raises(InputError, match=r"result\.json: not valid JSON"):
        fit(quick(), tmp_path)


@pytest.mark.parametrize(
    "content", ["{}", '{"history": []}', '{"history": 3}', '{"history": [{"epoch": 1}]}', '{"history": [[]]}', "[]"]
)
def test_a_result_that_lacks_something_is_named(content: str, quick: Quick, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(InputError) as error:
        fit(quick(), tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'result.json'}")
    if content != "[]":
        assert "result.json is damaged; delete it, and the trial goes on from last/state.pt" in str(error.value)
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("topographic", [{"topography": "none", "weight": 0.0}, {"weight": 0.1}])
def test_divergence_is_said(topographic: dict[str, Any], quick: Quick, tmp_path: Path) -> None:
    config = quick(learning_rate=1e30, warmup=0.0, model="mnist_cnn", **topographic)
    with pytest.raises(TrainingDiverged, match=r"^training diverged: a loss is not finite in epoch 1 \(task loss "):
        fit(config, tmp_path)
    assert not (tmp_path / "result.json").exists()
    assert not (tmp_path / "last").exists()


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_validation_loss_that_is_not_finite_is_divergence_too(
    loss: float, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick(epochs=2)
    with pytest.raises(Stop):
        fit(config, tmp_path, report=_stop_at(1))
    monkeypatch.setattr("topotune.training.fit.evaluate", lambda *_arguments: Evaluation(0.99, loss))
    with pytest.raises(TrainingDiverged, match=rf"in epoch 2 \(task loss \d.*, validation loss {loss}\)"):
        fit(config, tmp_path)
    # nothing of the second epoch is kept
    assert [row["epoch"] for row in _table(tmp_path)] == [1]
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("schedule", ["step", "epoch"])
def test_the_highest_rate_of_each_epoch_is_reported(schedule: str, quick: Quick, tmp_path: Path) -> None:
    """In the published code the first epoch runs at rate 0."""
    result = fit(quick(epochs=4, schedule=schedule, warmup=0.25), tmp_path)
    steps = 17 if schedule == "step" else 1  # 1,077 images in batches of 64
    expected = [
        max(0.1 * warmup_cosine((epoch + step / steps) / 4, 0.25) for step in range(steps)) for epoch in range(4)
    ]
    assert [one.learning_rate for one in result.history] == pytest.approx(expected, rel=1e-12)
    if schedule == "epoch":
        assert result.history[0].learning_rate == 0
        assert result.history[1].learning_rate == pytest.approx(0.1)


def test_a_constant_rate(quick: Quick, tmp_path: Path) -> None:
    """From the first step to the last, whatever the warm-up."""
    result = fit(quick(epochs=2, schedule="constant", warmup=0.5), tmp_path)
    assert [one.learning_rate for one in result.history] == [0.1, 0.1]


def test_adam_and_bfloat16(quick: Quick, tmp_path: Path) -> None:
    settings = {"optimizer": "adam", "learning_rate": 0.01, "precision": "bfloat16", "epochs": 4, "weight_decay": 0.0}
    with pytest.raises(Stop):
        fit(quick(**settings), tmp_path, report=_stop_at(2))
    result = fit(quick(**settings), tmp_path)  # Adam's state goes on, too
    assert result.validation_accuracy > 0.9
    assert _history(fit(quick(**settings), tmp_path / "b")) == _history(result)
    assert all(math.isfinite(one.topographic_loss) for one in result.history)


def test_the_control_has_no_topographic_loss(quick: Quick, tmp_path: Path) -> None:
    """Nor does any setting of one change it."""
    first = fit(quick(topography="none", weight=0.0, epochs=1), tmp_path / "a")
    settings = {"distance": "l1", "layer_reduction": "mean"}
    second = fit(quick(topography="none", weight=0.0, epochs=1, **settings), tmp_path / "b")
    assert _history(first) == _history(second)
    assert first.history[0].topographic_loss == 0
    _same_weights(tmp_path / "a", tmp_path / "b")


def test_wrong_settings_are_named(quick: Quick, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the config asks for 2 workers, but 1 are running"):
        fit(quick(workers=2), tmp_path)
    with pytest.raises(InputError, match=r"dataset 'mnist' needs the folder"):
        fit(quick(dataset="mnist"), tmp_path / "b")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said(quick: Quick, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="device = 'cuda': torch sees no GPU here"):
        fit(quick(device="cuda"), tmp_path)
    assert pick_device("auto") == torch.device("cpu")


def test_each_rank_has_a_gpu_of_its_own(quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [pick_device("auto", rank) for rank in range(3)] == [torch.device("cuda", one) for one in (0, 1, 0)]
    assert pick_device("cuda") == torch.device("cuda", 0)
    assert pick_device("cpu", 1) == torch.device("cpu")
    with pytest.raises(InputError, match="workers = 3: each needs a GPU of its own, and 2 are here"):
        train(quick(workers=3, device="auto"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "warmup"])
def test_the_weight_schedule_reaches_the_loss(schedule: str, quick: Quick, tmp_path: Path) -> None:
    """The mean weight of each epoch's samples is its ``strength``."""
    result = fit(quick(epochs=3, weight=0.4, weight_schedule=schedule, warmup=0.5, batch_size=359), tmp_path)
    # 1,077 images: three steps of 359 each
    expected = [
        0.4 * sum(weight_factor(schedule, (epoch + step / 3) / 3, 0.5) for step in range(3)) / 3 for epoch in range(3)
    ]
    assert [one.strength for one in result.history] == pytest.approx(expected, rel=1e-6)
    assert [row["strength"] for row in read_csv(tmp_path / "metrics.csv")] == [one.strength for one in result.history]


def test_a_weight_that_falls_presses_less(quick: Quick, tmp_path: Path) -> None:
    constant, linear = (
        fit(quick(weight=2.0, weight_schedule=one), tmp_path / one).history[-1] for one in ("constant", "linear")
    )
    assert linear.strength < constant.strength == 2.0
    assert linear.topographic_loss > constant.topographic_loss


def test_the_control_has_no_strength(quick: Quick, tmp_path: Path) -> None:
    result = fit(quick(topography="none", weight=0.0, epochs=1), tmp_path)
    assert [one.strength for one in result.history] == [0]


# what has more to keep over an interruption than weights and optimiser
KINDS: dict[str, dict[str, Any]] = {
    "learned": {"topography": "grid2d-learned", "swap_every": 2, "epochs": 5},
    "learned-as": {"topography": "grid2d-learned", "swap_every": 1, "epochs": 3, "loss": "as", "model": "mnist_cnn"},
    "assigned": {"topography": "grid2d-assigned", "weight": 0.0, "epochs": 3},
    "assigned-ws": {"topography": "sheet-assigned", "weight": 0.0, "epochs": 2, "loss": "ws", "model": "mnist_cnn"},
    "ratio": {"strength": "ratio", "weight": 0.2, "ratio_every": 3, "epochs": 3},
    "ratio-ws": {"strength": "ratio", "weight": 0.2, "loss": "ws", "model": "mnist_cnn", "epochs": 3},
    "ratio-learned": {
        "strength": "ratio", "weight": 0.2, "topography": "line-learned", "swap_every": 2, "epochs": 3,
        "weight_schedule": "cosine",
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def special(request: pytest.FixtureRequest, quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of each kind that nothing interrupted."""
    config, out = quick(**KINDS[request.param]), tmp_path_factory.mktemp(request.param)
    return config, out, fit(config, out)


def _rounds(out: Path) -> Any:
    path = out / "arrangement.json"
    return json.loads(path.read_text())["rounds"] if path.exists() else None


def test_a_special_run_interrupted_or_not_is_the_same_to_the_bit(special: Any, tmp_path: Path) -> None:
    """Weights, history, positions and λ, wherever it was interrupted."""
    config, out, result = special
    for stop in range(1, config.epochs + 1):
        run = tmp_path / str(stop)
        with pytest.raises(Stop):
            fit(config, run, report=_stop_at(stop))
        torch.manual_seed(stop)  # of no consequence
        again = fit(config, run)
        assert _history(again) == _history(result)
        assert _table(run) == _table(out)
        assert _rounds(run) == _rounds(out)
        _same_weights(run, out)
    assert fit(config, out) == result  # finished: only read


def test_a_special_run_leaves_its_positions(special: Any) -> None:
    config, out, _result = special
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == (FILES if config.arrangement == "fixed" else FILES | {"arrangement.json"})
    if config.arrangement == "fixed":
        return
    written = json.loads((out / "arrangement.json").read_text())
    assert written["topography"] == config.topography
    layers = ["fc1"] if config.loss != "channel" else ["conv1", "conv2"]
    assigned = config.arrangement == "assigned"
    epochs = [config.epochs] if assigned else list(range(0, config.epochs, config.swap_every))
    assert [(one["epoch"], one["layer"]) for one in written["rounds"]] == [
        (epoch, layer) for epoch in epochs for layer in layers
    ]
    for one in written["rounds"]:
        assert sorted(one["permutation"]) == list(range(len(one["permutation"])))
        assert one["loss_after"] <= one["loss_before"] + 1e-6
    first = [one for one in written["rounds"] if one["epoch"] == epochs[0]]
    assert any(one["moved"] and one["loss_after"] < one["loss_before"] for one in first)


def test_learned_positions_count_in_training(quick: Quick, tmp_path: Path) -> None:
    """From the first step on: the topographic loss is lower than where channels stay, in the same epoch."""
    fixed, learned = (
        fit(quick(topography=one, epochs=1, loss="as", model="mnist_cnn", weight=1e-6), tmp_path / one).history[0]
        for one in ("grid2d", "grid2d-learned")
    )
    assert learned.topographic_loss < fixed.topographic_loss - 0.02


@pytest.mark.parametrize("loss", ["channel", "as"])
def test_an_assigned_trial_trains_as_the_control_does(loss: str, quick: Quick, tmp_path: Path) -> None:
    """On all its images, without any topographic loss; its positions are for the best epoch's network."""
    control = fit(quick(topography="none", weight=0.0), tmp_path / "control")
    config = quick(topography="grid2d-assigned", weight=0.0, loss=loss)
    assigned = fit(config, tmp_path / "assigned")
    assert _history(assigned) == _history(control)
    assert all((one.topographic_loss, one.strength) == (0, 0) for one in assigned.history)
    _same_weights(tmp_path / "control", tmp_path / "assigned")

    model = load_checkpoint(tmp_path / "assigned")
    _rest, probe = hold_out(load_split("digits", "train"), config.seed)
    images = normalise(probe.images, DATASETS["digits"])
    topography, levels = topography_of(config, model), []
    for rounds in ([], _rounds(tmp_path / "assigned")):
        for one in rounds:
            topography.arrange(one["layer"], torch.tensor(one["permutation"]))
        with torch.no_grad(), topography:
            model(images)
            levels.append(topography.value().item())
    told = _rounds(tmp_path / "assigned")
    assert levels[0] == pytest.approx(sum(one["loss_before"] for one in told), rel=1e-4)
    assert levels[1] == pytest.approx(sum(one["loss_after"] for one in told), rel=1e-4)
    assert levels[1] < levels[0]


@pytest.mark.parametrize("topography", ["grid2d", "grid2d-learned", "grid2d-assigned"])
def test_held_out_images_are_not_trained_on(
    topography: str, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where positions are learned, one image in twenty is for the swaps alone; else all are for training."""
    _organisation, arrangement = arrangement_of(topography)
    seen = list[Any]()

    def watched(split: Any, *arguments: Any, **settings: Any) -> Iterator[Batch]:
        seen.append(split)
        return training_batches(split, *arguments, **settings)

    monkeypatch.setattr("topotune.training.fit.training_batches", watched)
    config = quick(topography=topography, weight=0.0 if arrangement == "assigned" else 0.1, seed=4)
    result = fit(config, tmp_path)
    whole = load_split("digits", "train")
    rest, probe = hold_out(whole, 4)
    expected = rest if arrangement == "learned" else whole
    assert len(seen) == config.epochs
    assert all(torch.equal(one.images, expected.images) for one in seen)
    assert len(probe) == 53
    # the data are the same data, whatever is held out
    assert result.data_checksum == whole.checksum


@pytest.mark.parametrize("loss", ["ws", "ws_cosine", "ws_pearson", "as", "as_relu", "as_global", "laplacian"])
def test_every_loss_trains(loss: str, quick: Quick, tmp_path: Path) -> None:
    """And is pressed down by its weight."""
    settings = {"loss": loss, "topography": "sheet", "model": "mnist_cnn", "epochs": 2, "learning_rate": 0.03}
    light, heavy = (fit(quick(weight=weight, **settings), tmp_path / str(weight)).history[-1] for weight in (1e-6, 1.0))
    assert heavy.topographic_loss < light.topographic_loss
    assert math.isfinite(heavy.task_loss)


def test_the_ratio_keeps_the_weight_in_its_place(quick: Quick, tmp_path: Path) -> None:
    """λ is larger for a larger ρ, and is what the table tells."""
    low, high = (
        fit(quick(strength="ratio", weight=ratio, epochs=1), tmp_path / str(ratio)).history[0].strength
        for ratio in (0.04, 1.0)
    )
    assert 0 < low < high / 5
    assert high < 1e4


def test_a_layer_that_is_not_there_is_said_before_training(quick: Quick, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^model 'small_cnn': layers = 'fc1': no layer matches 'fc1'"):
        fit(quick(layers="fc1"), tmp_path)
    with pytest.raises(InputError, match=r"layers = 'foo': no layer matches 'foo'"):  # where a control is pruned
        fit(quick(topography="none", weight=0.0, layers="foo"), tmp_path)
    assert not (tmp_path / "metrics.csv").exists()


def _room_for(samples: int, monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> None:
    """From now on a network has room for so many samples at once in training, once it has taken ``after`` steps."""

    def build(*arguments: Any) -> torch.nn.Module:
        model, taken = build_model(*arguments), []

        def look(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            taken.append(module.training)
            if module.training and sum(taken) > after and len(inputs[0]) > samples:
                torch.empty(2**50)

        model.register_forward_pre_hook(look)
        return model

    monkeypatch.setattr("topotune.training.fit.build_model", build)


HALVED = "out of memory with {} samples at once: {} micro-batches a step from here on\n"


@pytest.mark.parametrize("model", ["small_cnn", "mnist_cnn"])
def test_after_a_lack_of_memory_a_run_goes_on_in_micro_batches(
    model: str, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each halving is told once; what comes of it is what asking for as many micro-batches gives, to the bit."""
    config, told = quick(model=model, learning_rate=0.05), list[EpochMetrics]()
    asked = fit(config.replace(accumulate=4), tmp_path / "asked")
    assert (asked.accumulate, capsys.readouterr().err) == (4, "")
    assert not (tmp_path / "asked" / "last" / "memory.json").exists()
    _room_for(20, monkeypatch)
    halved = fit(config, tmp_path / "halved", report=told.append)
    assert capsys.readouterr().err == HALVED.format(64, 2) + HALVED.format(32, 4)
    assert halved.accumulate == 4
    assert json.loads((tmp_path / "halved" / "result.json").read_text())["accumulate"] == 4
    assert halved.config_hash == config.hash != asked.config_hash
    assert _history(halved) == _history(asked)
    assert tuple(told) == halved.history
    _same_weights(tmp_path / "halved", tmp_path / "asked")
    assert fit(config, tmp_path / "halved") == halved
    assert fit(config, tmp_path / "whole").history[0].task_loss == asked.history[0].task_loss


def test_a_lack_of_memory_takes_back_its_own_epoch_only(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the middle of the second epoch: the first is not trained again; a new start keeps the micro-batches."""
    config = quick(epochs=3)
    whole = fit(config, tmp_path / "whole")
    _room_for(32, monkeypatch, after=17 + 5)
    with pytest.raises(Stop):
        fit(config, tmp_path / "run", report=_stop_at(2))
    assert capsys.readouterr().err == HALVED.format(64, 2)
    rows = _table(tmp_path / "run")
    assert rows[0] == _history(whole)[0]
    assert rows[1] != _history(whole)[1]
    _room_for(32, monkeypatch)
    result = fit(config, tmp_path / "run")
    assert (result.accumulate, capsys.readouterr().err) == (2, "")
    assert _history(result)[:2] == rows


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "not enough memory even for micro-batches of 2 samples"),
        ({"strength": "ratio"}, "not enough memory for batch_size 64, which strength 'ratio' needs at once"),
    ],
)
def test_where_memory_does_not_suffice_at_all(
    settings: dict[str, Any], reason: str, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _room_for(1, monkeypatch)
    with pytest.raises(InputError, match=f"^{reason}$"):
        fit(quick(**settings), tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_other_errors_are_no_lack_of_memory(quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_arguments: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr("topotune.training.fit.train_epoch", fails)
    with pytest.raises(RuntimeError, match="device-side assert"):
        fit(quick(), tmp_path)
    assert not (tmp_path / "last").exists()


# trains a little, to learn how large its processes are; then more than there is room for
SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import torch
from topotune.config import TrialConfig
from topotune.training.launch import train

torch.backends.mkldnn.set_flags(False)  # it maps memory of its own, and says in other words that there is none

def note(metrics):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    Path("size").write_text(str(pages * resource.getpagesize()))

if __name__ == "__main__":
    workers = int(sys.argv[1])
    config = TrialConfig(
        dataset="own.npz", model="cifar_cnn", workers=workers, batch_size=512 * workers, epochs=2, threads=1,
        device="cpu",
    )
    if len(sys.argv) > 2:  # as many micro-batches from the start, and memory enough
        train(config.replace(accumulate=int(sys.argv[2])), Path("asked"), Path())
        sys.exit()
    train(config.replace(batch_size=16 * workers, epochs=1), Path("small"), Path(), report=note)
    limit = int(Path("size").read_text()) + 240 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    train(config, Path("run"), Path())
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and sizes of processes as Linux has them")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_real_lack_of_memory(workers: int, tmp_path: Path) -> None:
    """Processes that may grow by 240 MiB; two ranks are started anew, and the command ends well."""
    samples = 520 * workers
    images = np.random.default_rng(0).integers(0, 256, (samples * 10 // 9, 32, 32, 3), np.uint8)
    labels = np.arange(len(images)) % 3
    np.savez(
        tmp_path / "own.npz", train_images=images, train_labels=labels, test_images=images[:9], test_labels=labels[:9]
    )
    (tmp_path / "program.py").write_text(SHORT_OF_MEMORY)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "program.py", str(workers)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "run")
    assert result is not None
    assert result.epochs == 2
    assert result.accumulate in (2, 4, 8, 16, 32), done.stderr
    said = [line for line in done.stderr.splitlines() if "out of memory" in line]
    assert len(said) == math.log2(result.accumulate)
    for number, line in enumerate(said):
        assert HALVED.format(512 >> number, 2 << number).strip() in line
        assert line.startswith("rank ") == (workers > 1)
    config = TrialConfig.from_dict(json.loads((tmp_path / "run" / "config.json").read_text()))
    assert (config.accumulate, config.hash) == (1, result.config_hash)
    if workers == 1:
        subprocess.run([*command, str(result.accumulate)], cwd=tmp_path, env=env, check=True, timeout=200)
        asked = read_result(tmp_path / "asked")
        assert asked is not None
        assert _history(asked) == _history(result)
        _same_weights(tmp_path / "asked", tmp_path / "run")


def test_sounds_that_were_left_out_are_in_the_result(tmp_path: Path) -> None:
    """In training one is silent, and in a hundred for validation one is damaged; half of the test part is an error."""
    folder = tmp_path / FOLDER
    (folder / "yes").mkdir(parents=True)
    names = [f"yes/{number}.wav" for number in range(201)]
    for number, name in enumerate(names):
        loud = np.random.default_rng(number).normal(0, 0.1, 16000) * (number != 5)
        soundfile.write(folder / name, loud, 16000)
    (folder / names[150]).write_bytes(b"RIFF")
    (folder / "validation_list.txt").write_text("\n".join(names[100:200]))
    (folder / "testing_list.txt").write_text("\n".join([names[200], "yes/gone.wav"]))
    config = TrialConfig(dataset="speechcommands", model="small_cnn", epochs=1, threads=1, device="cpu")
    result = fit(config, tmp_path / "run", tmp_path)
    assert result.data_notes == {"train": {"silent": 1}, "validation": {"unreadable": 1}}
    assert read_result(tmp_path / "run") == result
    with pytest.raises(InputError, match=r"1 of 2 clips cannot be used \(1 missing\): .*gone\.wav"):
        load_split("speechcommands", "test", tmp_path)
