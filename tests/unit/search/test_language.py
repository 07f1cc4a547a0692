"""What a study file can say of a searched setting: steps, conditions, several ways; points; sizes."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topotune.errors import InputError
from topotune.search.checks import check_layers
from topotune.search.space import Case, Cases, Choices, Plain, Range, StudyFile, count, within
from topotune.search.study_file import load_study, to_toml

Load = Callable[..., StudyFile]

LOSSES = """
[fixed]
model = "mnist_cnn"
dataset = "mnist"
[scientific]
loss = {choices = ["ws", "as"]}
topography = {choices = ["grid2d"]}
weight = [
  {low = 0.01, high = 1.0, log = true, when = {loss = "ws"}},
  {choices = [5.0, 10.0]},
]
[nuisance]
optimizer = {choices = ["sgd", "adam"]}
momentum = {low = 0.5, high = 0.9, step = 0.1, when = {optimizer = "sgd"}}
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(text: str, **overrides: Any) -> StudyFile:
        path = tmp_path / "space.toml"
        path.write_text(text, encoding="utf-8")
        return load_study(path, {name.replace("__", "."): value for name, value in overrides.items()})

    return write_and_load


def _suggest(study: StudyFile, **values: Any) -> tuple[dict[str, Any], dict[str, Plain]]:
    """A trial whose choices are ``values``; and what was asked, by parameter."""
    asked: dict[str, Plain] = {}

    def choose(parameter: str, dimension: Plain) -> Any:
        asked[parameter] = dimension
        return values[parameter.partition(" ")[0]]

    return study.suggest(choose).to_dict(), asked


def test_a_setting_is_searched_where_its_condition_holds(load: Load) -> None:
    study = load(LOSSES)
    assert study.dimensions["momentum"] == Cases((Case({"optimizer": ("sgd",)}, Range(0.5, 0.9, False, False, 0.1)),))
    config, asked = _suggest(study, topography="none", optimizer="adam")
    assert list(asked) == ["topography", "optimizer"]
    assert config["momentum"] == 0.9  # the default
    config, asked = _suggest(study, topography="none", optimizer="sgd", momentum=0.7)
    assert (config["momentum"], list(asked)) == (0.7, ["topography", "optimizer", "momentum"])


def test_each_case_is_a_parameter_of_its_own(load: Load) -> None:
    study = load(LOSSES)
    _config, one = _suggest(study, topography="grid2d", loss="ws", weight=0.5, optimizer="adam")
    assert one["weight [loss=ws]"] == Range(0.01, 1.0, log=True, whole=False)
    config, other = _suggest(study, topography="grid2d", loss="as", weight=5.0, optimizer="adam")
    assert other["weight [else]"] == Choices((5.0, 10.0))
    assert config["weight"] == 5.0


def test_what_a_setting_can_be_over_all_cases(load: Load) -> None:
    study = load(LOSSES)
    assert study.ends("weight") == (0.01, 10.0)
    assert study.choices("loss") == ("ws", "as")
    assert study.ends("momentum") == (0.5, 0.9)
    # the control: adam, and 5 momenta of sgd; grid2d: the same times (ws: 12 points, as: 2)
    assert study.size(12) == 6 + 6 * (12 + 2)
    assert study.size() == math.inf


def test_conditions_survive_their_own_file(load: Load, tmp_path: Path) -> None:
    study = load(LOSSES)
    again = tmp_path / "again.toml"
    again.write_text(to_toml(study), encoding="utf-8")
    assert load_study(again, {"study.name": study.name}) == study
    assert load(LOSSES.replace('loss = "ws"}}', 'loss = ["ws"]}}')).hash == study.hash
    assert load(LOSSES.replace("5.0, 10.0", "5.0, 20.0")).hash != study.hash


def test_a_condition_may_stand_before_what_it_is_about(load: Load) -> None:
    study = load(
        "[nuisance]\nmomentum = {choices = [0.1, 0.2], when = {warmup = 0.1}}\n"
        "warmup = {choices = [0.1, 0.5], when = {optimizer = 'sgd'}}\noptimizer = {choices = ['adam', 'sgd']}"
    )
    assert study.order.index("optimizer") < study.order.index("warmup") < study.order.index("momentum")
    config, asked = _suggest(study, optimizer="adam")
    assert list(asked) == ["optimizer"]
    assert config["warmup"] == 0.3  # its default, which is no condition of momentum
    assert study.size() == 1 + 2 + 1


def test_a_constant_may_decide(load: Load) -> None:
    text = "[fixed]\noptimizer = '{}'\n[nuisance]\nmomentum = [{{choices = [0.1], when = {{optimizer = '{}'}}}}]"
    assert list(_suggest(load(text.format("sgd", "sgd")), momentum=0.1)[1]) == ["momentum"]
    with pytest.raises(InputError, match="momentum: when optimizer = 'adam': it never is, in this study; choose from"):
        load(text.format("sgd", "adam"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("epochs = {low = 1, high = 9, step = 3}", "epochs: from low = 1, steps of 3 do not end at high = 9"),
        ("epochs = {low = 1, high = 9, step = 1.5}", "[nuisance] epochs: step = 1.5 must be an integer above 0"),
        ("epochs = {low = 1, high = 9, step = 0}", "step = 0 must be an integer above 0 and at most high - low"),
        ("warmup = {low = 0.0, high = 0.5, step = 0.6}", "step = 0.6 must be a number above 0 and at most"),
        ("warmup = {low = 0.1, high = 0.5, step = 0.1, log = true}", "step = 0.1 goes with no logarithmic scale"),
        ("warmup = [{low = 0.1, high = 0.5}, 3]", "warmup = [{'low': 0.1, 'high': 0.5}, 3] must be a value, {choices"),
        ("warmup = [{low = 0.1, high = 0.5}, {choices = [1]}]", "its table 1 has no when, so that those after it"),
        ("warmup = {choices = [0.1], when = 'sgd'}", "warmup: when = 'sgd' must be a table: {loss = 'ws'}"),
        ("warmup = {choices = [0.1], when = {optimizer = []}}", "must name other settings, with at least one value"),
        ("warmup = {choices = [0.1], when = {warmup = 0.1}}", "must name other settings"),
        ("warmup = {choices = [0.1], when = {optimiser = 'sgd'}}", "when: unknown setting 'optimiser'"),
        ("warmup = {choices = [0.1], when = {optimizer = 'lion'}}", "when: unknown optimizer 'lion'"),
        ("warmup = {choices = [0.1], when = {optimizer = 'adam'}}", "optimizer = 'adam': it never is, in this study"),
        (
            "warmup = {choices = [0.1], when = {momentum = 0.5}}\n"
            "momentum = {low = 0.1, high = 0.9, when = {optimizer = 'sgd'}}",
            "warmup: when momentum: it is a range",
        ),
        (
            "warmup = {choices = [0.1], when = {momentum = 0.5}}\nmomentum = {low = 0.1, high = 0.9}",
            "warmup: when momentum: it is a range; conditions are about settings with choices",
        ),
        (
            "warmup = {choices = [0.1], when = {momentum = 0.5}}\n"
            "momentum = {choices = [0.5, 0.6], when = {warmup = 0.1}}",
            "warmup: its conditions go round in a circle",
        ),
        (
            "topography = {choices = ['none', 'line'], when = {optimizer = 'sgd'}}\nweight = 1.0",
            "topography has no conditions",
        ),
        (
            "accumulate = {choices = [1, 32]}\nbatch_size = {choices = [16, 256]}",
            "batch_size 16 leaves 1 workers with 32 micro-batches each fewer",
        ),
        (
            "dataset = {choices = ['cifar10', 'digits']}\nmodel = {choices = ['densenet121', 'small_cnn']}",
            "model 'densenet121' needs images of at least 16x16 pixels, but dataset 'digits' has 8x8",
        ),
        ("weight = {choices = [1.0], when = {loss = 'ws'}}\nloss = {choices = ['ws', 'as']}\ntopography = 'grid2d'\n"
         "model = 'mnist_cnn'\ndataset = 'mnist'", "weight, λ, can be 0 here"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, reason: str, load: Load, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load(f"[nuisance]\n{text}")
    assert str(error.value).startswith(f"{tmp_path / 'space.toml'}: ")
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("dimension", "inside", "outside", "size"),
    [
        (Choices((1, 2)), [1, 2], [0, 1.5], 2),
        (Range(0.0, 1.0, False, False), [0.0, 0.3, 1.0], [-0.1, 1.1], math.inf),
        (Range(0.0, 1.0, False, False, 0.1), [0.0, 0.3, 0.7, 1.0], [0.05, 1.1], 11),
        (Range(2, 10, False, True), [2, 10], [1, 11], 9),
        (Range(2, 10, False, True, 4), [2, 6, 10], [4], 3),
        (Range(1, 1000, True, True), [1, 999], [0], 1000),
    ],
)
def test_dimensions(dimension: Plain, inside: list[float], outside: list[float], size: float) -> None:
    assert all(within(value, dimension) for value in inside)
    assert not any(within(value, dimension) for value in outside)
    assert count(dimension) == size
    assert count(dimension, 12) <= (12 if isinstance(dimension, Range) and dimension.step is None else size)


POINTS = "[study]\nname = 'a'\n" + LOSSES + "[[enqueue]]\nweight = 0.5\n[[enqueue]]\nmomentum = 0.7\n"


def test_points_are_read_and_written(load: Load, tmp_path: Path) -> None:
    study = load(POINTS)
    assert study.points == ({"weight": 0.5}, {"momentum": 0.7})
    assert study.hash == load("[study]\nname = 'a'\n" + LOSSES).hash
    (tmp_path / "again.toml").write_text(to_toml(study), encoding="utf-8")
    assert load_study(tmp_path / "again.toml") == study


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ("weight = 2.0", "[[enqueue]] weight = 2.0: no trial of this study can be that"),
        ("weight = 0.5\nloss = 'as'", "[[enqueue]] weight = 0.5, loss = 'as': no trial of this study can be that"),
        ("momentum = 0.7\noptimizer = 'adam'", "no trial of this study can be that"),
        ("momentum = 0.75", "no trial of this study can be that"),
        ("epochs = 3", "[[enqueue]] epochs is not searched here; searched are loss, topography, weight"),
        ("lambda = 3", "[[enqueue]]: unknown setting 'lambda'"),
        ("weight = 'x'", "[[enqueue]]: weight = 'x' is not a number"),
    ],
)
def test_wrong_points(point: str, reason: str, load: Load) -> None:
    with pytest.raises(InputError) as error:
        load(f"{LOSSES}[[enqueue]]\n{point}")
    assert reason in str(error.value)


def test_points_are_tables(load: Load) -> None:
    for text in ("enqueue = 3\n", "enqueue = [3]\n", "[[enqueue]]\n"):
        with pytest.raises(InputError, match=r"enqueue must be tables of settings: \[\[enqueue\]\]"):
            load(text)


def test_layers_are_those_of_each_network(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    layers = [{"choices": ["fc1"], "when": {"model": "mnist_cnn"}}, {"choices": ["layer4.*"]}]
    fixed = 'dataset = "mnist"\nmodel = {choices = ["mnist_cnn", "resnet18"]}\n'
    path.write_text(f"[fixed]\n{fixed}[scientific]\ntopography = 'grid2d'\nweight = 0.1\n")
    check_layers(load_study(path, {"layers": layers}))
    with pytest.raises(InputError, match=r"model 'resnet18': layers = 'fc1': no layer matches 'fc1'"):
        check_layers(load_study(path, {"layers": [layers[0], {"choices": ["fc1"]}]}))


def test_the_control_is_told_of_like_its_rivals(tmp_path: Path) -> None:
    """So that pages which compare runs find one value of each setting in all of them."""
    path = tmp_path / "a.toml"
    path.write_text("[scientific]\ntopography = {choices = ['grid2d', 'circle']}\nweight = {choices = [0.1, 1.0]}\n")
    study = load_study(path)
    control, rival = (study.told(study.suggest(_pick(name))) for name in ("none", "circle"))
    assert control.keys() == rival.keys() >= {"weight", "loss", "layers", "distance", "grid_divisor", "radius"}
    assert (control["weight"], rival["weight"]) == (0.0, 0.1)
    assert not control.keys() & {"nested_factor", "swap_every", "ratio_every", "device", "threads"}  # nobody's
    several = load_study(path, {"loss": {"choices": ["channel", "as_global"]}})
    assert "loss" not in several.told(several.suggest(_pick("none")))
    assert several.told(several.suggest(_pick("circle")))["loss"] == "channel"


def _pick(topography: str) -> Callable[[str, Plain], Any]:
    def choose(name: str, dimension: Plain) -> Any:
        assert isinstance(dimension, Choices)
        return topography if name == "topography" else dimension.values[0]

    return choose
