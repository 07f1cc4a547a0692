"""What the unit tests share: one thread, and settings of a network that trains on the embedded digits in a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from topotune.config import TrialConfig

torch.set_num_threads(1)

Quick = Callable[..., TrialConfig]


@pytest.fixture(scope="session")
def quick() -> Quick:
    """Settings of a small topographic run on the digits; keywords change some."""

    def make(**changes: Any) -> TrialConfig:
        settings = {
            "topography": "grid2d", "weight": 0.1, "epochs": 2, "batch_size": 64, "learning_rate": 0.1,
            "weight_decay": 0.001, "threads": 1, "device": "cpu",
        }  # fmt: skip
        return TrialConfig(**(settings | changes))

    return make


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; making its tables takes seconds, so each test gets a copy."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("blank") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
