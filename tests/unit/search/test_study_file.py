"""The study file: what it can say, what is refused and where, and what a trial gets of it."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topotune.errors import InputError
from topotune.search.options import OPTIONS
from topotune.search.space import Choices, Dimension, Range, StudyFile
from topotune.search.study_file import load_study, parse_override, to_toml

Load = Callable[..., StudyFile]

SPACE = """
[study]
name = "a-study"
[fixed]
epochs = 6
weight_decay = 0.001
[scientific]
topography = {choices = ["none", "grid2d", "circle"]}
weight = {low = 0.001, high = 10.0, log = true}
distance = {choices = ["euclidean", "l1"]}
[nuisance]
learning_rate = {low = 0.01, high = 0.3}
batch_size = {low = 16, high = 64}
[budget]
trials = 9
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a study file and loads it."""

    def write_and_load(text: str = SPACE, **overrides: Any) -> StudyFile:
        path = tmp_path / "space.toml"
        path.write_text(text, encoding="utf-8")
        return load_study(path, {name.replace("__", "."): value for name, value in overrides.items()})

    return write_and_load


def test_what_a_file_says(load: Load) -> None:
    study = load()
    assert study.name == "a-study"
    assert list(study.dimensions) == ["topography", "weight", "distance", "learning_rate", "batch_size"]
    assert study.dimensions["topography"] == Choices(("none", "grid2d", "circle"))
    assert study.dimensions["weight"] == Range(0.001, 10.0, log=True, whole=False)
    assert study.dimensions["learning_rate"] == Range(0.01, 0.3, log=False, whole=False)
    assert study.dimensions["batch_size"] == Range(16, 64, log=False, whole=True)
    assert study.constants == {"epochs": 6, "weight_decay": 0.001}
    assert study.epochs == 6
    assert study.option("budget", "trials") == 9


def test_an_empty_file_is_a_study_of_defaults_named_after_it(load: Load) -> None:
    study = load("")
    assert study.name == "space"
    assert study.topographies == ("none",)
    assert study.dimensions == {}
    assert study.epochs == 100
    for section, options in OPTIONS.items():
        for key, option in options.items():
            if (section, key) != ("study", "name"):
                assert study.option(section, key) == option.default
                assert option.accepts(option.default)


ERRORS = [
    ("[study", "not valid TOML"),
    ("[studies]", "unknown section 'studies'; choose from study, objective, budget, confirm, prune, robustness, samp"),
    ("budget = 3", "budget = 3 must be a table: [budget]"),
    ("[study]\nname = ''", "[study] name = '' must be a name of letters"),
    ("[study]\nname = 3", "[study] name = 3 must be a name"),
    ("[study]\nname = '../up'", "[study] name = '../up' must be a name"),
    ("[study]\nname = '.hidden'", "[study] name = '.hidden' must be a name"),
    ("[study]\nname = 'a b'", "[study] name = 'a b' must be a name"),
    (f"[study]\nname = '{'a' * 101}'", "must be a name"),
    ("[study]\ndescription = 3", "[study] description = 3 must be a string"),
    ("[study]\nsampler = 'grids'", "[study] sampler = 'grids' must be one of tpe, gp"),
    ("[study]\npruner = 'asha'", "[study] pruner = 'asha' must be one of successive_halving"),
    ("[study]\npruner = []", "[study] pruner = [] must be one of successive_halving"),
    ("[study]\nseed = -1", "[study] seed = -1 must be an integer from 0 to 2147483647"),
    ("[study]\nseed = true", "[study] seed = True must be an integer from 0"),
    ("[study]\nseed = 2147483648", "[study] seed = 2147483648 must be an integer from 0 to 2147483647"),
    ("[study]\nseed = 1.0", "[study] seed = 1.0 must be an integer from 0"),
    ("[study]\nname = 'mlflow.db'", "[study] name = 'mlflow.db' must be a name"),
    ("[study]\nname = 'mlartifacts'", "[study] name = 'mlartifacts' must be a name"),
    ("[study]\nnames = 'a'", "[study]: unknown key 'names'; choose from name, description"),
    ("[objective]\nmetric = 'test_accuracy'", "[objective] metric = 'test_accuracy' must be one of validation_acc"),
    ("[budget]\ntrials = 0", "[budget] trials = 0 must be an integer >= 1"),
    ("[budget]\ntrials = 2.0", "[budget] trials = 2.0 must be an integer >= 1"),
    ("[budget]\nmin_epochs = 0", "[budget] min_epochs = 0 must be"),
    ("[budget]\nmin_epochs = 101", "[budget] min_epochs = 101 is more than the trials' 100 epochs"),
    ("[budget]\nreduction_factor = 1", "[budget] reduction_factor = 1 must be"),
    ("[budget]\ncpus_per_worker = nan", "[budget] cpus_per_worker = nan must be a number > 0"),
    ("[budget]\ncpus_per_worker = inf", "[budget] cpus_per_worker = inf must be a number > 0"),
    ("[budget]\ncpus_per_worker = 0", "[budget] cpus_per_worker = 0 must be a number > 0"),
    ("[budget]\ncpus_per_worker = -0.5", "[budget] cpus_per_worker = -0.5 must be a number > 0"),
    ("[budget]\ncpus_per_worker = true", "[budget] cpus_per_worker = True must be a number > 0"),
    ("[budget]\ngpus_per_worker = 'all'", "[budget] gpus_per_worker = 'all' must be a number >= 0, or 'auto'"),
    ("[budget]\ngpus_per_worker = -0.5", "[budget] gpus_per_worker = -0.5 must be"),
    ("[confirm]\nseeds = 0", "[confirm] seeds = 0 must be"),
    ('[confirm]\nper = "loss"', "[confirm] per = 'loss' must be a list of distinct settings that"),
    ('[confirm]\nper = ["loss"]', "[confirm] per: 'loss' is not searched in [scientific] beside topography (each is"),
    ('[confirm]\nper = ["topography"]', "per: 'topography' is not searched in [scientific] beside topography"),
    ('[nuisance]\nmomentum = {low = 0.1, high = 0.2}\n[confirm]\nper = ["momentum"]', "choose from nothing"),
    ("[prune]\ncriterion = 'l3'", "[prune] criterion = 'l3' must be one of l2"),
    ("[prune]\nproportions = []", "[prune] proportions = [] must be distinct numbers from 0 to 1"),
    ("[prune]\nproportions = [0, 1.1]", "[prune] proportions = [0, 1.1] must be"),
    ("[prune]\nproportions = [true]", "[prune] proportions = [True] must be"),
    ("[prune]\nproportions = [0, 0.5, 0.5]", "[prune] proportions = [0, 0.5, 0.5] must be distinct numbers"),
    ("[prune]\nproportions = [1, 1.0]", "[prune] proportions = [1, 1.0] must be distinct numbers"),
    ("[robustness]\nperturbations = 'fog'", "[robustness] perturbations = 'fog' must be a list of distinct names"),
    ("[robustness]\nperturbations = ['fog', 'fog']", "perturbations = ['fog', 'fog'] must be a list of distinct names"),
    ("[robustness]\nperturbations = [1]", "[robustness] perturbations = [1] must be a list of distinct names"),
    ("[prune]\nproportions = 0.5", "[prune] proportions = 0.5 must be"),
    ("[fixed]\nepoch = 3", "[fixed]: unknown setting 'epoch'; choose from dataset"),
    ("[fixed]\nepochs = 'many'", "[fixed]: epochs = 'many' is not an integer"),
    ("[fixed]\nweight = nan", "[fixed]: weight = nan is out of range"),
    ("[fixed]\nmodel = 'x'", "[fixed]: unknown model 'x'"),
    ("[fixed]\nepochs = [1, 2]", "[fixed]: epochs = [1, 2] is not an integer"),
    ("[fixed]\nepochs = 1979-05-27", "[fixed]: epochs = datetime.date(1979, 5, 27) is not an integer"),
    ("[fixed]\nepochs = 3\n[nuisance]\nepochs = 4", "epochs stands in [fixed] and in [nuisance]; keep one"),
    ("[nuisance]\nfoo = {low = 1, high = 2}", "[nuisance]: unknown setting 'foo'"),
    ("[nuisance]\nepochs = {}", "[nuisance] epochs = {} must be a value, {choices = […]} or {low"),
    ("[nuisance]\nepochs = {low = 1}", "[nuisance] epochs = {'low': 1} must be a value"),
    ("[nuisance]\nepochs = {low = 1, high = 2, steps = 1}", "must be a value, {choices"),
    ("[nuisance]\nepochs = {choices = [1], low = 1}", "must be a value, {choices"),
    ("[nuisance]\nepochs = {choices = 3}", "[nuisance] epochs: choices = 3 must be a list of at least one"),
    ("[nuisance]\nepochs = {choices = []}", "[nuisance] epochs: choices = [] must be a list"),
    ("[nuisance]\nepochs = {choices = [1, 2.5]}", "[nuisance]: epochs = 2.5 is not an integer"),
    ("[nuisance]\nmomentum = {choices = [1, 1.0]}", "[nuisance] momentum: choices = [1, 1.0] names a value twice"),
    ("[nuisance]\nepochs = {low = 5, high = 5}", "[nuisance] epochs: low = 5 must be less than high = 5"),
    ("[nuisance]\nepochs = {low = 1, high = 2.5}", "[nuisance]: epochs = 2.5 is not an integer"),
    ("[nuisance]\nepochs = {low = 1, high = 3, log = 1}", "[nuisance] epochs: log = 1 must be true or false"),
    ("[nuisance]\nweight = {low = 0, high = 3, log = true}", "[nuisance] weight: low = 0.0 must be more than 0"),
    ("[nuisance]\nweight = {low = 0, high = inf}", "[nuisance]: weight = inf is out of range"),
    ("[nuisance]\nmodel = {low = 'a', high = 'b'}", "[nuisance]: unknown model 'a'"),
    ("[nuisance]\nmodel = {low = 'mnist_cnn', high = 'vgg16'}", "[nuisance] model is no number and has no range"),
    ("[nuisance]\naugment = {low = false, high = true}", "[nuisance] augment is no number and has no range"),
    ("[nuisance]\ndevice = {choices = ['cpu', 'cuda']}", "[nuisance] device: cannot be searched"),
    ("[nuisance]\nthreads = {low = 1, high = 2}", "[nuisance] threads: cannot be searched"),
    ("[nuisance]\nworkers = {choices = [1, 2]}", "workers cannot be searched"),
    ("[nuisance]\nworkers = {choices = [1]}", "workers cannot be searched"),
    ("[nuisance]\nseed = {low = 1, high = 5}", "seed cannot be searched"),
    ("[scientific]\nseed = {choices = [3]}", "seed cannot be searched"),
    ("[scientific]\ntopography = 'sphere'", "weight, λ, can be 0 here (that is its default)"),
    ("[fixed]\nweight = 0\n[scientific]\ntopography = {choices = ['line']}", "weight, λ, can be 0 here"),
    ("[fixed]\ntopography = 'line'\nweight = {low = 0, high = 1}", "weight, λ, can be 0 here"),
    ("[fixed]\ntopography = 'line'\nweight = {choices = [1, 0]}", "weight, λ, can be 0 here"),
    ("[fixed]\nbatch_size = 1078", "batch_size = 1078 is more than the 1077 training images of 'digits'"),
    ("[nuisance]\nbatch_size = {low = 16, high = 2048}", "batch_size = 2048 is more than the 1077 training images"),
    ("[nuisance]\nbatch_size = {choices = [16, 2048, 32]}", "batch_size = 2048 is more than the 1077 training"),
    ("[fixed]\nbatch_size = 1078\nmodel = 'mnist_cnn'\ndataset = {choices = ['mnist', 'digits', 'mnist']}", "twice"),
    ("[fixed]\nbatch_size = 1078\nmodel = 'mnist_cnn'\ndataset = {choices = ['cifar10', 'digits', 'mnist']}",
     "batch_size = 1078 is more than the 1077 training images of 'digits'"),
    ("[fixed]\nworkers = 4\nbatch_size = {choices = [64, 4, 32]}", "batch_size 4 leaves 4 workers fewer"),
    ("[fixed]\nworkers = 4\n[nuisance]\nbatch_size = {low = 4, high = 64}", "batch_size 4 leaves 4 workers fewer"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), ERRORS, ids=[reason[:40] for _text, reason in ERRORS])
def test_every_error_names_the_file_and_the_place(text: str, reason: str, load: Load, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load(text)
    assert str(error.value).startswith(f"{tmp_path / 'space.toml'}: ")
    assert reason in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: no such study file"):
        load_study(tmp_path / "none.toml")
    with pytest.raises(InputError, match="cannot be read"):
        load_study(tmp_path)
    (tmp_path / "latin").write_bytes(b"name = '\xe9'")
    with pytest.raises(InputError, match="latin: cannot be read"):
        load_study(tmp_path / "latin")


@pytest.mark.parametrize("section", ["fixed", "scientific", "nuisance"])
def test_the_control_joins_every_comparison(section: str, load: Load) -> None:
    searched = load(f"[{section}]\nweight = 1\ntopography = {{choices = ['sphere', 'line']}}")
    assert searched.topographies == ("none", "sphere", "line")
    assert searched.dimensions["topography"] == Choices(("none", "sphere", "line"))
    single = load(f"[{section}]\nweight = 1\ntopography = 'sphere'")
    assert single.topographies == ("none", "sphere")
    assert load(f"[{section}]\ntopography = 'none'").topographies == ("none",)
    either = load(f"[{section}]\nweight = 1\ntopography = {{choices = ['line', 'none']}}")
    assert either.topographies == ("none", "line")
    # where there is nothing but the control, λ may be anything
    assert load(f"[{section}]\nweight = 0\ntopography = 'none'").topographies == ("none",)


def _suggest(study: StudyFile, **values: Any) -> tuple[dict[str, Any], list[str]]:
    """A trial whose choices are ``values``, and what was asked, in order."""
    asked: list[str] = []

    def choose(name: str, dimension: Dimension) -> Any:
        assert dimension == study.dimensions[name]
        asked.append(name)
        return values[name]

    return study.suggest(choose).to_dict(), asked


def test_the_control_is_asked_nothing_topographic(load: Load) -> None:
    config, asked = _suggest(load(), topography="none", learning_rate=0.1, batch_size=20)
    assert asked == ["topography", "learning_rate", "batch_size"]
    assert (config["weight"], config["topography"], config["distance"]) == (0.0, "none", "euclidean")


def test_the_others_are_asked_everything(load: Load) -> None:
    study = load()
    config, asked = _suggest(study, topography="circle", weight=2.0, distance="l1", learning_rate=0.1, batch_size=20)
    assert asked == ["topography", "weight", "distance", "learning_rate", "batch_size"]
    assert config["topography"] == "circle"
    assert (config["weight"], config["distance"], config["batch_size"], config["epochs"]) == (2.0, "l1", 20, 6)


def test_what_depends_on_the_loss_is_the_controls_too_by_the_first_loss(load: Load) -> None:
    file = load("""
[scientific]
topography = {choices = ["none", "grid2d"]}
loss = {choices = ["ws", "as"]}
[fixed]
model = "mnist_cnn"
weight = 1.0
[nuisance]
learning_rate = [{choices = [0.1], when = {loss = "ws"}}, {choices = [0.2, 0.3]}]
""")
    control = next(branch for branch in file.branches if branch.values["topography"] == "none")
    assert control.open["learning_rate"] == Choices((0.1,))
    assert file.suggest(lambda name, dimension: dimension.values[0]).learning_rate == 0.1
    assert file.size() == 4


def test_fixed_topographic_settings_are_the_controls_no_more_than_the_searched(load: Load) -> None:
    study = load("[fixed]\nweight = 3.0\ndistance = 'l1'\n[scientific]\ntopography = 'line'")
    config, asked = _suggest(study, topography="none")
    assert asked == ["topography"]
    assert (config["weight"], config["distance"]) == (0.0, "euclidean")
    assert _suggest(study, topography="line")[0]["weight"] == 3.0


def test_topography_is_asked_first_wherever_it_stands(load: Load) -> None:
    study = load("[scientific]\nweight = {low = 0.1, high = 1.0}\ntopography = {choices = ['line']}")
    assert _suggest(study, topography="line", weight=0.5)[1] == ["topography", "weight"]


def test_overrides(load: Load) -> None:
    study = load(
        epochs=3,  # stays where it is
        study__name="other",
        budget__trials=2,
        learning_rate=0.05,  # a range becomes one value
        momentum={"choices": [0.5, 0.9]},  # new: joins the fixed section
        nuisance__warmup={"low": 0.0, "high": 0.5},
    )
    assert (study.name, study.option("budget", "trials"), study.epochs) == ("other", 2, 3)
    assert study.sections["fixed"]["epochs"] == 3
    assert study.constants["learning_rate"] == 0.05
    assert study.sections["nuisance"]["learning_rate"] == 0.05
    assert study.dimensions["momentum"] == Choices((0.5, 0.9))
    assert study.dimensions["warmup"] == Range(0.0, 0.5, log=False, whole=False)
    assert load(topography="sphere").topographies == ("none", "sphere")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("epoch", 3, "--set: unknown setting 'epoch'; choose from dataset"),
        ("budgets__trials", 3, "--set budgets.trials: unknown section 'budgets'"),
        ("budget__trial", 3, "[budget]: unknown key 'trial'"),
        ("budget__trials", 0, "[budget] trials = 0 must be an integer >= 1"),
        ("budget__hours", 10**400, "must be a number >= 0: of the clock; 0 for no limit"),
        ("epochs", "x", "[fixed]: epochs = 'x' is not an integer"),
        ("fixed__learning_rate", 0.1, "learning_rate stands in [fixed] and in [nuisance]"),
    ],
)
def test_wrong_overrides(name: str, value: Any, reason: str, load: Load) -> None:
    with pytest.raises(InputError) as error:
        load(**{name: value})
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=3", ("epochs", 3)),
        ("weight=1e-3", ("weight", 1e-3)),
        ("augment=false", ("augment", False)),
        ("topography=grid2d", ("topography", "grid2d")),
        ('topography="grid2d"', ("topography", "grid2d")),
        ("weight={low = 0.1, high = 1.0}", ("weight", {"low": 0.1, "high": 1.0})),
        ("study.name=a=b", ("study.name", "a=b")),
        (" epochs = 3 ", ("epochs", 3)),
        ("prune.proportions=[0, 0.5]", ("prune.proportions", [0, 0.5])),
        ("study.description=", ("study.description", "")),
        ("study.description=two words, λ", ("study.description", "two words, λ")),
    ],
)
def test_values_from_the_command_line(text: str, expected: tuple[str, Any]) -> None:
    key, value = parse_override(text)
    assert (key, value) == expected
    assert type(value) is type(expected[1])


@pytest.mark.parametrize("text", ["epochs", "", "=3", "  =3"])
def test_a_value_needs_a_key(text: str) -> None:
    with pytest.raises(InputError, match="must be key=value"):
        parse_override(text)


def test_the_identity_of_a_study_is_what_it_asks_and_not_its_effort(load: Load) -> None:
    base = load()
    for effort in (
        {"budget__trials": 99}, {"budget__min_epochs": 2}, {"budget__cpus_per_worker": 2}, {"confirm__seeds": 2},
        {"prune__proportions": [0.5]}, {"robustness__perturbations": ["fog"]}, {"study__name": "other"},
        {"study__description": "words"},
    ):  # fmt: skip
        assert load(**effort).hash == base.hash, effort
    for question in (
        {"epochs": 7}, {"weight": 0.5}, {"study__seed": 1}, {"study__sampler": "random"}, {"study__pruner": "median"},
        {"model": "mnist_cnn"}, {"topography": "line"},
    ):  # fmt: skip
        assert load(**question).hash != base.hash, question


def test_the_identity_of_a_study_never_changes(load: Load) -> None:
    """Folders on disk are known by it."""
    assert load().hash == "4d4bbba75cc33480"


def test_the_control_left_out_or_named_is_the_same_study(load: Load) -> None:
    assert load("[fixed]\nweight = 1\ntopography = {choices = ['none', 'line']}").hash == load(
        "[fixed]\nweight = 1\ntopography = {choices = ['line']}"
    ).hash  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "plain"),
    [
        ("weight = {low = 1, high = 10}", "weight = {high = 10.0, log = false, low = 1.0}",
         {"low": 1.0, "high": 10.0, "log": False}),
        ("weight = {choices = [1, 2]}", "weight = {choices = [1.0, 2.0]}", {"choices": [1.0, 2.0]}),
        ("epochs = {low = 1, high = 3}", "epochs = {low = 1, high = 3, log = false}",
         {"low": 1, "high": 3, "log": False}),
        ("epochs = {log = true, low = 1, high = 3}", "epochs = {low = 1, high = 3, log = true}",
         {"low": 1, "high": 3, "log": True}),
    ],
)  # fmt: skip
def test_what_is_spelled_differently_is_the_same_study(one: str, other: str, plain: dict[str, Any], load: Load) -> None:
    first, second = load(f"[nuisance]\n{one}"), load(f"[nuisance]\n{other}")
    assert first == second
    assert first.hash == second.hash
    (found,) = first.sections["nuisance"].values()
    assert found == plain
    for name, value in plain.items():
        assert type(found[name]) is type(value)
        if name == "choices":
            assert [type(choice) for choice in found[name]] == [type(choice) for choice in value]


texts = st.text(st.characters(codec="utf-8"), max_size=30)


@given(texts)
def test_any_description_survives_toml(text: str) -> None:
    study = _study_with(text)
    content = tomllib.loads(to_toml(study))
    assert content["study"]["description"] == text


def _study_with(description: str) -> StudyFile:
    sections = {section: {key: one.default for key, one in table.items()} for section, table in OPTIONS.items()}
    sections["study"] |= {"name": "a", "description": description}
    return StudyFile(sections | {"fixed": {}, "scientific": {}, "nuisance": {}}, {})


@pytest.mark.parametrize(
    "description", ['"quotes" and \\', "λ × 2 – ‘ü’", "line\nline\ttab", "\x7f\x00\x1f", "🧠", "'''", '"""', "#no"]
)
def test_a_study_survives_its_own_file(description: str, load: Load, tmp_path: Path) -> None:
    study = load(study__description=description, nuisance__warmup=1e-7, prune__proportions=[0, 0.25, 1])
    path = tmp_path / "again.toml"
    path.write_text(to_toml(study), encoding="utf-8")
    again = load_study(path)
    assert again == study
    assert again.hash == study.hash
    assert list(again.dimensions) == list(study.dimensions)
    assert to_toml(again) == to_toml(study)


def test_the_studies_that_come_with_the_package_are_whole() -> None:
    folder = Path(__file__).parents[3] / "search_spaces"
    files = sorted(folder.glob("*.toml"))
    assert [path.stem for path in files] == sorted(load_study(path).name for path in files)
    for path in files:
        study = load_study(path)
        if study.constants.get("loss") == "channel":
            assert study.topographies == ("none", "grid2d", "circle", "nested2d", "grid3d", "sphere", "nested3d")
        else:  # the second paper's
            assert study.topographies[:2] == ("none", "grid2d")
            assert study.dimensions["weight"] == Choices((0.1, 0.3, 0.5, 1.0, 2.0, 3.0))
        assert json.dumps(study.sections)  # plain values only
        dataset, _, model = path.stem.partition("_")
        if model in ("resnet18", "vgg16", "densenet121"):  # the first paper's recipe
            assert (study.constants["dataset"], study.constants["model"]) == (dataset, model)
            assert study.epochs == {"cifar10": 100, "cifar100": 100, "birddcase": 36, "speechcommands": 12}[dataset]
            assert study.ends("batch_size") == (256, 256)
            assert study.constants["layer_reduction"] == "sum"
            published = (1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0, 5.0)
            assert study.dimensions["weight"] == Choices(published)


def test_device_and_threads_do_not_change_the_study(load: Load) -> None:
    assert load("[fixed]\nthreads = 1\n").hash == load('[fixed]\nthreads = 8\ndevice = "cpu"\n').hash
    assert load("[fixed]\nepochs = 1\n").hash != load("[fixed]\nepochs = 2\n").hash


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_the_seeds_of_a_study(seed: int, load: Load) -> None:
    assert load(study__seed=seed).option("study", "seed") == seed


RECIPE = "[fixed]\nrecipe = 'truong2025'\ndataset = 'mnist'\nmodel = 'mnist_cnn'\n"
SPELLED = """
[fixed]
dataset = "mnist"
model = "mnist_cnn"
optimizer = "adam"
learning_rate = 0.001
weight_decay = 0.0
batch_size = 64
schedule = "constant"
augment = false
loss = "ws"
layers = "code"
epochs = 10
"""


def test_a_recipe_is_worth_what_it_stands_for(load: Load) -> None:
    study, spelled = load(RECIPE), load(SPELLED)
    assert study.constants == spelled.constants
    assert study.hash == spelled.hash
    assert study.epochs == 10
    assert "recipe" not in to_toml(study)
    assert load(to_toml(study)).hash == study.hash
    assert _suggest(study)[0] == _suggest(spelled)[0]


def test_what_stands_in_any_section_wins_over_the_recipe(load: Load) -> None:
    searched = "[nuisance]\nlearning_rate = {low = 0.01, high = 0.1}\n[scientific]\nbatch_size = {choices = [16, 32]}"
    study = load(f"{RECIPE}epochs = 3\n{searched}")
    assert study.epochs == 3
    assert set(study.dimensions) == {"learning_rate", "batch_size"}
    assert "learning_rate" not in study.sections["fixed"]
    assert "batch_size" not in study.sections["fixed"]
    assert study.constants["optimizer"] == "adam"
    assert load(RECIPE, learning_rate=0.5).constants["learning_rate"] == 0.5


def test_a_recipe_by_the_command_line(load: Load) -> None:
    text = RECIPE.replace("recipe = 'truong2025'\n", "")
    assert load(text, recipe="truong2025").hash == load(RECIPE).hash
    assert load(text, fixed__recipe="truong2025").hash == load(RECIPE).hash
    # another than the file's
    other = load(RECIPE, recipe="poli2022", dataset="cifar10", model="resnet18")
    assert (other.epochs, other.constants["optimizer"], other.constants["batch_size"]) == (100, "sgd", 256)
    assert (
        load(text.replace("mnist", "digits").replace("digits_cnn", "small_cnn"), recipe="poli2022", epochs=2).epochs
        == 2
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[fixed]\nrecipe = 'poli'", "[fixed]: unknown recipe 'poli'; choose from poli2022, truong2025"),
        ("[fixed]\nrecipe = 3", "[fixed]: unknown recipe 3; choose from poli2022"),
        ("[fixed]\nrecipe = {choices = ['poli2022', 'truong2025']}", "[fixed]: unknown recipe {'choices'"),
        ("[fixed]\nrecipe = 'poli2022'", "[fixed]: recipe 'poli2022' knows no number of epochs for dataset 'digits'"),
        (
            "[fixed]\nrecipe = 'poli2022'\nmodel = 'resnet18'\ndataset = {choices = ['cifar10', 'cifar100']}",
            "[fixed]: recipe 'poli2022' knows no number of epochs for dataset {'choices': ['cifar10', 'cifar100']}",
        ),
        ("[nuisance]\nrecipe = 'poli2022'", "[nuisance]: unknown setting 'recipe'"),
        ("[scientific]\nrecipe = {choices = ['poli2022']}", "[scientific]: unknown setting 'recipe'"),
        ("[fixed]\naccumulate = 2\nstrength = 'ratio'\nweight = 0.1\ntopography = 'line'", "accumulate: strength"),
        ("[fixed]\naccumulate = 4\n[nuisance]\nbatch_size = {low = 4, high = 64}", "batch_size 4 leaves 1 workers"),
    ],
)
def test_wrong_recipes_and_micro_batches(text: str, reason: str, load: Load, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load(text)
    assert str(error.value).startswith(f"{tmp_path / 'space.toml'}: ")
    assert reason in str(error.value)


def test_a_searched_data_set_needs_epochs_beside_a_recipe(load: Load) -> None:
    study = load("[fixed]\nrecipe = 'poli2022'\nepochs = 4\nmodel = 'resnet18'\n"
                 "[scientific]\ndataset = {choices = ['cifar10', 'cifar100']}")  # fmt: skip
    assert study.epochs == 4
    assert study.constants["schedule"] == "epoch"
