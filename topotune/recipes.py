"""How the two papers train, as settings of a trial: ``recipe = "poli2022"`` fills in what is not given."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from topotune.errors import InputError, unknown


@dataclass(frozen=True)
class Recipe:
    """settings: of a trial, by name. epochs: by data set."""

    settings: Mapping[str, Any]
    epochs: Mapping[str, int]


RECIPES: dict[str, Recipe] = {
    # section 3.1 and the code: the rate moves once an epoch, so that the first one's is 0
    "poli2022": Recipe(
        {
            "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.01, "batch_size": 256,
            "warmup": 0.3, "schedule": "epoch", "augment": True, "loss": "channel", "layers": "code",
            "layer_reduction": "sum",
        },
        {"cifar10": 100, "cifar100": 100, "birddcase": 36, "speechcommands": 12},
    ),
    # Adam at a constant rate, a fifth of the training part for validation
    "truong2025": Recipe(
        {
            "optimizer": "adam", "learning_rate": 0.001, "weight_decay": 0.0, "batch_size": 64,
            "schedule": "constant", "augment": False, "loss": "ws", "layers": "code",
        },
        {"mnist": 10, "cifar10_8020": 30},
    ),
}  # fmt: skip


def settings_of(recipe: object, dataset: object, given: Collection[str], where: str = "") -> dict[str, Any]:
    """The settings of a recipe, without those that are given anyway.

    Args:
        recipe: a key of RECIPES.
        dataset: the name of the data set, which decides the number of epochs.
        given: names of the settings that are given.
        where: heads the text of an error.

    Raises:
        InputError: the recipe is unknown, or knows no number of epochs for the data set and none is given.
    """
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES, where)
    wanted = dict(RECIPES[recipe].settings)
    epochs = RECIPES[recipe].epochs
    if isinstance(dataset, str) and dataset in epochs:
        wanted["epochs"] = epochs[dataset]
    elif "epochs" not in given:
        place = f"{where}: " if where else ""
        raise InputError(
            f"{place}recipe {recipe!r} knows no number of epochs for dataset {dataset!r}, only for "
            f"{', '.join(epochs)}; give epochs"
        )
    return {name: value for name, value in wanted.items() if name not in given}
