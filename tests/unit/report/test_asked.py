"""What a study file asked for, in words."""

from typing import Any

from topotune.report import asked


def test_settings_in_words() -> None:
    study: dict[str, Any] = {
        "study": {"name": "demo", "description": "why", "sampler": "tpe"},
        "fixed": {"augment": True, "epochs": 27},
        "scientific": {"topography": {"choices": ["none", "grid2d"]}, "weight": {"low": 0.01, "high": 10, "log": True}},
        "nuisance": {"momentum": {"low": 0.5, "high": 0.9}, "odd": {"low": 1, "high": 2, "step": 0.5}},
        "budget": {"hours": 0, "patience": 0, "keep": 10},
        "prune": {"proportions": [0.0, 0.5], "finetune_epochs": 0, "finetune_proportions": [0.5]},
    }
    assert asked.settings_table(study).rows == (
        ("scientific", "topography", "one of none, grid2d"),
        ("scientific", "weight (λ)", "0.01 to 10, log scale"),
        ("nuisance", "momentum", "0.5 to 0.9"),
        ("nuisance", "odd", "1 to 2, in steps of 0.5"),
        ("fixed", "augment", "true"),
        ("fixed", "epochs", "27"),
    )
    # no limit is nothing to tell of
    assert asked.method_table(study).rows == (
        ("study", "sampler", "tpe"), ("budget", "keep", "10"), ("prune", "proportions", "0.0, 0.5"),
    )  # fmt: skip
    study["prune"]["finetune_epochs"] = 2
    assert asked.method_table(study).rows[-1] == ("prune", "finetune_proportions", "0.5")


def test_conditions_and_options_in_words() -> None:
    study = {
        "sampler": {"n_startup_trials": 20},
        "scientific": {
            "weight": [
                {"low": 0.01, "high": 1.0, "log": True, "when": {"loss": ["ws", "as"], "strength": ["fixed"]}},
                {"choices": [0.1, 1.0]},
            ],
        },
        "nuisance": {"momentum": {"low": 0.5, "high": 0.9, "log": False, "step": 0.1, "when": {"optimizer": "sgd"}}},
        "enqueue": [{"weight": 0.1, "loss": "ws"}],
    }
    ways = "0.01 to 1.0, log scale, where loss is ws or as and strength is fixed; one of 0.1, 1.0, else"
    assert asked.settings_table(study).rows == (
        ("scientific", "weight (λ)", ways),
        ("nuisance", "momentum", "0.5 to 0.9, in steps of 0.1, where optimizer is sgd"),
    )
    assert asked.method_table(study).rows == (
        ("sampler", "n_startup_trials", "20"), ("tried first", "point 1", "weight = 0.1, loss = ws"),
    )  # fmt: skip
