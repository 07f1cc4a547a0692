"""Whole runs on the embedded digits: they learn, repeat to the bit, go on after an interruption, and fail in words."""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.files import read_csv
from topotune.models.topographic import build_model
from topotune.topography.positions import positions
from topotune.topography.targets import target_similarity
from topotune.training.fit import assemble_topography, fit, pick_device, train
from topotune.training.records import EpochMetrics, TrainingDiverged, TrialResult, read_result
from topotune.training.schedule import warmup_cosine

Quick = Callable[..., TrialConfig]
FILES = {"config.json", "model.safetensors", "last/state.pt", "metrics.csv", "result.json"}


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
    monkeypatch.setattr("topotune.training.fit.evaluate", lambda *_arguments: (0.99, loss))
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


def test_targets_are_those_of_the_layers_in_the_order_of_the_outputs(quick: Quick) -> None:
    config = quick(model="resnet18", topography="circle", distance="l1", layer_reduction="mean", weight=3.0)
    model = build_model("resnet18", 3, 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    topography = assemble_topography(config, model, (3, 32, 32))
    assert [target.shape[0] for target in topography.targets] == [64, 64, 128, 256, 512]
    for target in topography.targets:
        expected = target_similarity(positions("circle", len(target)), "l1").float()
        assert target.dtype == torch.float32
        assert torch.equal(target, expected)
    assert (topography.weight, topography.mean) == (3.0, True)
    # looking at the layers leaves no trace
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
