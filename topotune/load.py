"""Loading a trained network from where a person has it: a folder, or a place in MLflow."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def load_checkpoint(location: str | Path, store: str | None = None) -> "nn.Module":
    """The best epoch's network, on the CPU, in evaluation mode.

    Args:
        location: a folder with ``config.json`` and ``model.safetensors`` (``studies/digits/best``), or an MLflow
            URI (``runs:/<run id>/checkpoint``, ``models:/<name>/<version>``).
        store: MLflow's tracking URI for such a URI; MLFLOW_TRACKING_URI, or the store in ``./studies``, if it is
            left out.

    Raises:
        InputError: the checkpoint is missing, truncated, or of another model than it says.
    """
    from topotune.training.checkpoint import load_model

    if str(location).startswith(("runs:/", "models:/")):
        from topotune.tracking import default_store, download

        tracking = store or os.environ.get("MLFLOW_TRACKING_URI") or default_store(Path("studies"))
        with tempfile.TemporaryDirectory() as folder:
            return load_model(download(str(location), tracking, Path(folder)))
    return load_model(Path(location))
