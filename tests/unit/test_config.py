"""One trial's settings: what is taken, what is refused and why, and the identity of a trial."""

import hashlib
import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topotune.config import SETTINGS, TOPOGRAPHIC, TrialConfig, check_setting, unused_settings
from topotune.errors import InputError
from topotune.losses import LOSSES
from topotune.topography import TOPOGRAPHIES, arrangement_of


def test_defaults_are_the_first_papers() -> None:
    """Poli, Dupoux & Riad (2022), section 3.1."""
    config = TrialConfig()
    assert (config.optimizer, config.learning_rate, config.momentum, config.weight_decay) == ("sgd", 0.01, 0.9, 0.01)
    assert (config.batch_size, config.epochs, config.warmup) == (256, 100, 0.3)
    assert (config.layer_reduction, config.distance) == ("sum", "euclidean")  # the published code's
    assert (config.grid_divisor, config.radius, config.nested_factor, config.layers) == ("n-1", 0.5, 0.5, "code")
    assert (config.loss, config.strength, config.weight_schedule) == ("channel", "fixed", "constant")
    assert not config.topographic


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("epochs", 2.0, "epochs = 2.0 is not an integer"),
        ("epochs", True, "epochs = True is not an integer"),
        ("epochs", "3", "epochs = '3' is not an integer"),
        ("epochs", 0, "epochs = 0 is out of range; it must be finite and >= 1"),
        ("batch_size", 1, "batch_size = 1 is out of range"),
        ("workers", 0, "workers = 0 is out of range"),
        ("seed", -1, "seed = -1 is out of range"),
        ("threads", -1, "threads = -1 is out of range"),
        ("accumulate", 0, "accumulate = 0 is out of range; it must be finite and >= 1"),
        ("accumulate", 2.0, "accumulate = 2.0 is not an integer"),
        ("sync_batchnorm", 1, "sync_batchnorm = 1 is not true or false"),
        ("threads", 1025, "threads = 1025 is out of range; it must be finite and >= 0 and <= 1024"),
        ("weight", -1e-9, "weight = -1e-09 is out of range; it must be finite and >= 0"),
        ("weight", math.nan, "weight = nan is out of range"),
        ("weight", math.inf, "weight = inf is out of range"),
        ("weight", "0.1", "weight = '0.1' is not a number"),
        ("weight", None, "weight = None is not a number"),
        ("weight", False, "weight = False is not a number"),
        pytest.param("weight", 10**400, "weight = inf is out of range", id="huge"),
        ("learning_rate", 0.0, "learning_rate = 0.0 is out of range; it must be finite and > 0"),
        ("learning_rate", -math.inf, "learning_rate = -inf is out of range"),
        ("momentum", 1.01, "momentum = 1.01 is out of range; it must be finite and >= 0 and <= 1"),
        ("warmup", 1.5, "warmup = 1.5 is out of range"),
        ("weight_decay", math.nan, "weight_decay = nan is out of range"),
        ("augment", 1, "augment = 1 is not true or false"),
        ("dataset", 3, "dataset = 3 is not a string"),
        ("dataset", "imagenet", "unknown dataset 'imagenet'; choose from digits, mnist, cifar10"),
        ("model", "alexnet", "unknown model 'alexnet'; choose from small_cnn"),
        ("topography", "grid4d", "unknown topography 'grid4d'; choose from none, grid2d, grid3d, circle"),
        ("loss", "mse", "unknown loss 'mse'; choose from channel, ws, ws_cosine, ws_pearson, as, as_relu, as_global"),
        ("strength", "free", "unknown strength 'free'; choose from fixed, ratio"),
        ("weight_schedule", "step", "unknown weight_schedule 'step'; choose from constant, linear, cosine, warmup"),
        ("grid_divisor", "n+1", "unknown grid_divisor 'n+1'; choose from n-1, n"),
        ("grid_divisor", 1, "grid_divisor = 1 is not a string"),
        ("radius", 0.0, "radius = 0.0 is out of range; it must be finite and > 0"),
        ("radius", math.inf, "radius = inf is out of range"),
        ("nested_factor", 0, "nested_factor = 0.0 is out of range; it must be finite and > 0 and < 1"),
        ("nested_factor", 1.0, "nested_factor = 1.0 is out of range"),
        ("swap_every", 0, "swap_every = 0 is out of range; it must be finite and >= 1"),
        ("swap_every", 2.5, "swap_every = 2.5 is not an integer"),
        ("ratio_every", 0, "ratio_every = 0 is out of range"),
        ("layers", 3, "layers = 3 is not a string"),
        ("topography", "grid2d-frozen", "unknown topography 'grid2d-frozen'; choose from none, grid2d"),
        ("topography", "none-learned", "unknown topography 'none-learned'"),
        ("topography", "-learned", "unknown topography '-learned'"),
        ("distance", "l2", "unknown distance 'l2'; choose from euclidean, l1"),
        ("layer_reduction", "max", "unknown layer_reduction 'max'; choose from sum, mean"),
        ("optimizer", "lion", "unknown optimizer 'lion'; choose from sgd, adam"),
        ("schedule", "day", "unknown schedule 'day'; choose from step, epoch"),
        ("precision", "float16", "unknown precision 'float16'; choose from float32, bfloat16"),
        ("device", "tpu", "unknown device 'tpu'; choose from auto, cpu, cuda"),
        ("epoch", 3, "unknown setting 'epoch'; choose from dataset, model"),
    ],
)
def test_wrong_values_are_named(name: str, value: Any, reason: str) -> None:
    with pytest.raises(InputError) as error:
        TrialConfig.from_dict({name: value}, where="a.toml")
    assert str(error.value).startswith("a.toml: ")
    assert reason in str(error.value)
    if name in SETTINGS:
        with pytest.raises(InputError, match=name):
            TrialConfig(**{name: value})


def test_a_huge_integer_is_no_crash() -> None:
    assert TrialConfig(seed=2**80).seed == 2**80
    with pytest.raises(InputError, match="weight = inf is out of range"):
        check_setting("weight", 10**400)
    assert check_setting("seed", 10**400) == 10**400


@pytest.mark.parametrize(("workers", "batch_size", "fits"), [(1, 2, True), (2, 4, True), (2, 3, False), (8, 15, False)])
def test_each_worker_needs_two_samples(workers: int, batch_size: int, fits: bool) -> None:
    if fits:
        assert TrialConfig(workers=workers, batch_size=batch_size).workers == workers
    else:
        with pytest.raises(InputError, match=f"batch_size {batch_size} leaves {workers} workers"):
            TrialConfig(workers=workers, batch_size=batch_size)


@pytest.mark.parametrize(
    ("workers", "accumulate", "batch_size", "fits"),
    [(1, 2, 4, True), (1, 2, 3, False), (2, 3, 12, True), (2, 3, 11, False), (1, 129, 256, False)],
)
def test_each_micro_batch_needs_two_samples(workers: int, accumulate: int, batch_size: int, fits: bool) -> None:
    settings = {"workers": workers, "accumulate": accumulate, "batch_size": batch_size}
    if fits:
        assert TrialConfig(**settings).accumulate == accumulate
    else:
        reason = (
            f"^batch_size {batch_size} leaves {workers} workers with {accumulate} micro-batches each fewer than 2 "
            "samples each$"
        )
        with pytest.raises(InputError, match=reason):
            TrialConfig(**settings)


def test_a_ratio_is_measured_on_whole_batches() -> None:
    for topography in ("grid2d", "circle-learned"):
        settings: dict[str, Any] = {"topography": topography, "weight": 0.2, "strength": "ratio"}
        assert TrialConfig(**settings).accumulate == 1
        with pytest.raises(InputError, match=r"^accumulate: strength 'ratio' measures the gradients of whole batches"):
            TrialConfig(**settings, accumulate=2)
        assert TrialConfig(**(settings | {"strength": "fixed"}), accumulate=2).accumulate == 2


@pytest.mark.parametrize(("name", "value"), [("momentum", 0), ("momentum", 1), ("warmup", 1), ("weight", 2)])
def test_an_integer_is_taken_for_a_float(name: str, value: int) -> None:
    topography = "line" if name == "weight" else "none"
    config = TrialConfig(topography=topography, **{name: value})
    assert type(getattr(config, name)) is float
    same = TrialConfig(topography=topography, **{name: float(value)})
    assert config == same
    assert config.hash == same.hash


def test_a_config_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        TrialConfig().epochs = 3  # type: ignore[misc]


def test_the_identity_of_a_trial_never_changes() -> None:
    """Results on disk are known by these; a change here loses them all."""
    assert TrialConfig().hash == hashlib.sha256(b"{}").hexdigest()[:16] == "44136fa355b3678a"
    config = TrialConfig(model="resnet18", dataset="cifar10", topography="grid2d", weight=1, seed=3)
    told = b'{"dataset": "cifar10", "model": "resnet18", "seed": 3, "topography": "grid2d", "weight": 1.0}'
    assert config.hash == hashlib.sha256(told).hexdigest()[:16] == "d2403e122500f21c"


def test_where_it_runs_is_no_part_of_a_trial() -> None:
    assert TrialConfig(device="cpu", threads=3).hash == TrialConfig().hash


def test_the_control_is_one_trial_whatever_its_topographic_settings() -> None:
    config = TrialConfig(topography="none", weight=0, distance="l1", layer_reduction="mean")
    assert not config.topographic
    assert config.hash == TrialConfig().hash


NEEDED = "a topography needs a weight above 0; the control is 'none'"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"topography": "none", "weight": 5.0}, "'none' is the control and has no weight; weight = 5 must be 0"),
        ({"weight": 1e-9}, "'none' is the control and has no weight; weight = 1e-09 must be 0"),
        ({"topography": "sphere", "weight": 0.0}, f"'sphere' with weight 0: {NEEDED}"),
        ({"topography": "sphere"}, f"'sphere' with weight 0: {NEEDED}"),
        ({"topography": "line", "weight": -0.0}, f"'line' with weight 0: {NEEDED}"),
        ({"topography": "grid2d-learned"}, f"'grid2d-learned' with weight 0: {NEEDED}"),
        (
            {"topography": "grid2d-assigned", "weight": 0.1},
            "'grid2d-assigned' is assigned after training, which has no weight; weight = 0.1 must be 0",
        ),
    ],
)
def test_a_topography_and_a_weight_go_together(settings: dict[str, Any], reason: str) -> None:
    for make in (lambda: TrialConfig(**settings), lambda: TrialConfig.from_dict(settings),
                 lambda: TrialConfig().replace(**settings)):  # fmt: skip
        with pytest.raises(InputError) as error:
            make()
        assert str(error.value) == f"topography {reason}"
    assert TrialConfig(topography="sphere", weight=1e-300).topographic


def test_how_positions_are_handed_out() -> None:
    """Learned while a topographic loss trains; assigned to a network that was trained without one."""
    learned = TrialConfig(topography="circle-learned", weight=0.5, radius=1.0)
    assert (learned.topographic, learned.arrangement) == (True, "learned")
    assert learned.organisation_options == {"radius": 1.0}
    assigned = TrialConfig(topography="grid2d-assigned")
    assert (assigned.topographic, assigned.arrangement) == (False, "assigned")
    assert assigned.organisation_options == {"grid_divisor": "n-1"}
    fixed = TrialConfig(topography="line", weight=1)
    assert (fixed.topographic, fixed.arrangement, fixed.organisation_options) == (True, "fixed", {})
    assert TrialConfig().arrangement == "fixed"


NEIGHBOUR_LOSSES = ("ws", "ws_cosine", "ws_pearson", "as", "as_relu")
LATTICES = ("grid2d", "grid3d", "line", "sheet")


@pytest.mark.parametrize("topography", TOPOGRAPHIES)
@pytest.mark.parametrize("loss", LOSSES)
def test_which_losses_an_organisation_can_have(loss: str, topography: str) -> None:
    """Next neighbours are those of a lattice; the smoothness loss needs a full rectangle, and is about no pairs."""
    organisation, arrangement = arrangement_of(topography)
    settings: dict[str, Any] = {"topography": topography, "weight": 0.0 if arrangement == "assigned" else 1.0}
    if loss in NEIGHBOUR_LOSSES and organisation not in LATTICES:
        reason = (
            f"^topography '{topography}' has no neighbours for the loss '{loss}'; choose from {', '.join(LATTICES)}$"
        )
    elif loss == "laplacian" and organisation != "sheet":
        reason = f"^topography '{topography}' has no sheet for the loss 'laplacian'; choose from sheet$"
    elif loss == "laplacian" and arrangement != "fixed":
        reason = f"^topography '{topography}': the loss 'laplacian' is no sum over pairs of channels$"
    else:
        assert TrialConfig(loss=loss, **settings).loss == loss
        return
    with pytest.raises(InputError, match=reason):
        TrialConfig(loss=loss, **settings)


def test_the_control_may_name_any_loss() -> None:
    assert TrialConfig(loss="laplacian").hash == TrialConfig().hash


OTHER: dict[str, Any] = {
    "dataset": "mnist", "model": "mnist_cnn", "topography": "circle", "weight": 0.5, "distance": "l1",
    "layer_reduction": "mean", "epochs": 3, "batch_size": 64, "optimizer": "adam", "learning_rate": 0.1,
    "momentum": 0.5, "weight_decay": 0.0, "warmup": 0.0, "schedule": "epoch", "augment": False,
    "precision": "bfloat16", "seed": 1, "workers": 2, "loss": "as", "layers": "paper", "strength": "ratio",
    "weight_schedule": "linear", "grid_divisor": "n", "accumulate": 2, "sync_batchnorm": True,
}  # fmt: skip

# settings that only some topographies read: the value, one that reads it, and some that do not
SOME: dict[str, tuple[Any, str, list[str]]] = {
    "grid_divisor": ("n", "grid3d-learned", ["circle", "sphere-learned", "sheet", "line", "nested2d-assigned"]),
    "radius": (1.0, "sphere-assigned", ["grid2d", "grid2d-learned", "line", "nested3d", "grid3d-assigned"]),
    "nested_factor": (0.25, "nested2d", ["grid2d", "circle-learned", "line", "sheet-assigned"]),
    "swap_every": (2, "grid2d-learned", ["grid2d", "grid2d-assigned", "circle"]),
    "strength": ("ratio", "grid2d-learned", ["grid2d-assigned"]),
    "weight_schedule": ("cosine", "grid2d", ["line-assigned"]),
    "layer_reduction": ("mean", "grid2d-learned", ["circle-assigned"]),
    "loss": ("as", "grid2d-assigned", []),
    "layers": ("convolutions", "grid2d-assigned", []),
    "distance": ("l1", "grid2d-assigned", []),
}


def _with(topography: str) -> TrialConfig:
    return TrialConfig(topography=topography, weight=0.0 if topography.endswith("-assigned") else 1.0)


@pytest.mark.parametrize("name", OTHER)
def test_everything_else_is_part_of_a_topographic_trial(name: str) -> None:
    base = TrialConfig(topography="grid2d", weight=1.0)
    assert base.replace(**{name: OTHER[name]}).hash != base.hash


@pytest.mark.parametrize(("name", "value"), [("accumulate", 2), ("sync_batchnorm", True), ("workers", 2)])
def test_how_a_step_is_divided_is_part_of_the_control_too(name: str, value: Any) -> None:
    """Batch normalisation sees other samples, and sums are rounded otherwise."""
    assert TrialConfig(**{name: value}).hash != TrialConfig().hash


@pytest.mark.parametrize("name", SOME)
def test_a_setting_is_part_of_the_trials_that_read_it(name: str) -> None:
    value, reader, others = SOME[name]
    assert _with(reader).replace(**{name: value}).hash != _with(reader).hash
    for other in others:
        assert _with(other).replace(**{name: value}).hash == _with(other).hash
    assert TrialConfig(**{name: value}).hash == TrialConfig().hash  # none of them is the control's


def test_what_the_loss_or_the_strength_does_not_read_is_no_part() -> None:
    """Neighbours are the same whatever the distance; how often a ratio is measured matters where there is one."""
    for loss, entry in LOSSES.items():
        base = TrialConfig(topography="sheet", weight=1.0, loss=loss)
        assert (base.replace(distance="l1").hash == base.hash) == (entry.geometry != "targets")
    fixed, ratio = (TrialConfig(topography="grid2d", weight=1.0, strength=one) for one in ("fixed", "ratio"))
    assert fixed.replace(ratio_every=4).hash == fixed.hash
    assert ratio.replace(ratio_every=4).hash != ratio.hash
    assigned = TrialConfig(topography="grid2d-assigned", strength="ratio")
    assert assigned.replace(ratio_every=4).hash == assigned.hash


def test_every_setting_is_tested_for_its_part_in_the_identity() -> None:
    assert set(SETTINGS) == {*OTHER, *SOME, "ratio_every", "device", "threads"}


def test_unused_settings_are_settings() -> None:
    assert unused_settings("none") == set(TOPOGRAPHIC) <= set(SETTINGS)
    assert unused_settings("grid2d") == {"radius", "nested_factor", "swap_every", "ratio_every"}
    assert unused_settings("circle-learned", strength="ratio") == {"grid_divisor", "nested_factor"}
    assert unused_settings("line-learned", "ws", "ratio") == {"grid_divisor", "radius", "nested_factor", "distance"}
    assert unused_settings("line-assigned") == {
        "grid_divisor", "radius", "nested_factor", "swap_every", "weight", "strength", "ratio_every",
        "weight_schedule", "layer_reduction",
    }  # fmt: skip


topographies = st.one_of(
    st.just(("none", 0.0)),
    st.just(("nested2d-assigned", 0.0)),
    st.tuples(st.sampled_from(["grid2d", "nested3d", "line-learned"]), st.floats(0, 1e6, exclude_min=True)),
)
configs = st.builds(
    lambda pair, **settings: TrialConfig(topography=pair[0], weight=pair[1], **settings),
    topographies,
    learning_rate=st.floats(1e-12, 1e6),
    epochs=st.integers(1, 10**6),
    augment=st.booleans(),
    seed=st.integers(0, 2**70),
    radius=st.floats(0, 10, exclude_min=True),
    layers=st.text(),
    strength=st.sampled_from(["fixed", "ratio"]),
)


@given(configs)
def test_settings_survive_a_dictionary(config: TrialConfig) -> None:
    again = TrialConfig.from_dict(config.to_dict())
    assert again == config
    assert again.hash == config.hash
    assert len(config.hash) == 16
    assert int(config.hash, 16) >= 0


def test_replace_validates() -> None:
    assert TrialConfig().replace(seed=4).seed == 4
    with pytest.raises(InputError, match="epochs = 0"):
        TrialConfig().replace(epochs=0)


def test_a_network_too_deep_for_the_images_is_refused() -> None:
    with pytest.raises(InputError, match=r"model 'vgg16' needs images of at least 32x32 pixels.*'mnist'.*28x28"):
        TrialConfig(dataset="mnist", model="vgg16")
    with pytest.raises(InputError, match="'densenet121' needs images of at least 16x16"):
        TrialConfig(dataset="digits", model="densenet121")


def test_effective_settings_are_those_that_can_change_the_result() -> None:
    control = TrialConfig(device="cpu", threads=3)
    assert control.effective.keys() == SETTINGS.keys() - set(TOPOGRAPHIC) - {"device", "threads"}
    assert control.effective == TrialConfig().effective
    circle = TrialConfig(topography="circle", weight=0.5, radius=1.0)
    assert circle.effective.keys() >= {"weight", "radius", "loss", "learning_rate"}
    assert not circle.effective.keys() & {"grid_divisor", "nested_factor", "swap_every", "ratio_every"}
    assert circle.effective["weight"] == 0.5
