"""The papers' settings by name: what they are, and that a name is worth what it stands for."""

from typing import Any

import pytest

from topotune.config import SETTINGS, TrialConfig
from topotune.data import DATASETS
from topotune.errors import InputError
from topotune.models import MODELS
from topotune.recipes import RECIPES, settings_of

# science.md, section 4
POLI = {
    "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.01, "batch_size": 256,
    "warmup": 0.3, "schedule": "epoch", "augment": True, "loss": "channel", "layers": "code", "layer_reduction": "sum",
}  # fmt: skip
# section 7; Adam's usual weight decay is none
TRUONG = {
    "optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "batch_size": 64, "schedule": "constant",
    "augment": False, "loss": "ws", "layers": "code",
}  # fmt: skip
CASES = [
    ("poli2022", "cifar10", POLI | {"epochs": 100}),
    ("poli2022", "cifar100", POLI | {"epochs": 100}),
    ("poli2022", "birddcase", POLI | {"epochs": 36}),
    ("poli2022", "speechcommands", POLI | {"epochs": 12}),
    ("truong2025", "mnist", TRUONG | {"epochs": 10}),
    ("truong2025", "cifar10_8020", TRUONG | {"epochs": 30}),
]


@pytest.mark.parametrize(("recipe", "dataset", "expected"), CASES)
def test_a_recipe_is_the_papers(recipe: str, dataset: str, expected: dict[str, Any]) -> None:
    assert settings_of(recipe, dataset, ()) == expected
    config = TrialConfig.from_dict({"recipe": recipe, "dataset": dataset})
    assert {name: getattr(config, name) for name in expected} == expected
    others = set(SETTINGS) - set(expected) - {"dataset"}
    assert all(getattr(config, name) == SETTINGS[name].default for name in others)


def test_every_data_set_of_a_recipe_is_tested() -> None:
    told = {(recipe, dataset) for recipe, entry in RECIPES.items() for dataset in entry.epochs}
    assert told == {(recipe, dataset) for recipe, dataset, _expected in CASES}
    assert {dataset for _recipe, dataset in told} <= set(DATASETS)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_name_is_worth_what_it_stands_for(recipe: str) -> None:
    """The identity of a trial is that of all its settings spelled out, for every network that fits."""
    for dataset, epochs in RECIPES[recipe].epochs.items():
        for model, entry in MODELS.items():
            if min(DATASETS[dataset].shape[1:]) < entry.least:
                continue
            base = {"dataset": dataset, "model": model, "topography": "grid2d", "weight": 0.1, "seed": 2}
            named = TrialConfig.from_dict(base | {"recipe": recipe})
            spelled = TrialConfig.from_dict(base | dict(RECIPES[recipe].settings) | {"epochs": epochs})
            assert named == spelled
            assert named.hash == spelled.hash
            assert "recipe" not in named.to_dict()


@pytest.mark.parametrize(("name", "value"), [("epochs", 3), ("batch_size", 32), ("learning_rate", 0.5), ("loss", "as")])
def test_what_is_given_wins(name: str, value: Any) -> None:
    settings = {"recipe": "truong2025", "dataset": "mnist", name: value}
    config = TrialConfig.from_dict(settings)
    plain = TrialConfig.from_dict({"recipe": "truong2025", "dataset": "mnist"})
    assert getattr(config, name) == value
    assert config == plain.replace(**{name: value})
    assert settings["recipe"] == "truong2025"  # what was handed over is left as it was
    # whatever the order, and also where the value is the default that the recipe replaces
    assert TrialConfig.from_dict(dict(reversed(settings.items()))) == config
    default = SETTINGS[name].default
    assert getattr(TrialConfig.from_dict(settings | {name: default}), name) == default


@pytest.mark.parametrize("recipe", ["poli", "", 3, None, ["poli2022"], True])
def test_an_unknown_recipe_is_named(recipe: object) -> None:
    with pytest.raises(InputError) as error:
        TrialConfig.from_dict({"recipe": recipe, "dataset": "cifar10"}, where="a.toml")
    assert str(error.value) == f"a.toml: unknown recipe {recipe!r}; choose from poli2022, truong2025"


@pytest.mark.parametrize(
    ("recipe", "dataset", "known"),
    [
        ("poli2022", "digits", "cifar10, cifar100, birddcase, speechcommands"),
        ("truong2025", "own.npz", "mnist, cifar10_8020"),
    ],
)
def test_a_data_set_that_no_paper_trained_on_needs_epochs(recipe: str, dataset: str, known: str) -> None:
    settings = {"recipe": recipe, "dataset": dataset}
    with pytest.raises(InputError) as error:
        TrialConfig.from_dict(settings, where="--set")
    assert str(error.value) == (
        f"--set: recipe {recipe!r} knows no number of epochs for dataset {dataset!r}, only for {known}; give epochs"
    )
    assert TrialConfig.from_dict(settings | {"epochs": 7}).epochs == 7


def test_the_data_set_left_out_is_the_default() -> None:
    with pytest.raises(InputError, match=r"^recipe 'poli2022' knows no number of epochs for dataset 'digits'"):
        TrialConfig.from_dict({"recipe": "poli2022"})
    assert TrialConfig.from_dict({"recipe": "poli2022", "epochs": 2}).dataset == "digits"


def test_a_wrong_data_set_is_an_error_and_no_crash() -> None:
    for dataset in (3, ["mnist"], "imagenet"):
        with pytest.raises(InputError, match="dataset"):
            TrialConfig.from_dict({"recipe": "truong2025", "dataset": dataset})
        with pytest.raises(InputError, match=r"dataset = .* is not a string|unknown dataset 'imagenet'"):
            TrialConfig.from_dict({"recipe": "truong2025", "dataset": dataset, "epochs": 3})


def test_a_recipe_is_no_setting() -> None:
    assert "recipe" not in SETTINGS
    with pytest.raises(TypeError):
        TrialConfig(recipe="poli2022")  # type: ignore[call-arg]
