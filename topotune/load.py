"""Loading a trained network from where a person has it: a folder, or a place in MLflow."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

MLFLOW_URIS = ("runs:/", "models:/")


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

    with checkpoint_folder(location, store) as folder:
        return load_model(folder)


@contextmanager
def checkpoint_folder(location: str | Path, store: str | None = None) -> Iterator[Path]:
    """The folder of a checkpoint, fetched into a temporary one where it lies in MLflow; see ``load_checkpoint``."""
    if not str(location).startswith(MLFLOW_URIS):
        yield Path(location)
        return
    from topotune.tracking import default_store, download

    tracking = store or os.environ.get("MLFLOW_TRACKING_URI") or default_store(Path("studies"))
    with tempfile.TemporaryDirectory() as folder:
        yield download(str(location), tracking, Path(folder))
