"""Loading a trained network from where a person has it: a folder, a place in MLflow, the file of a state_dict."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topotune.errors import InputError

if TYPE_CHECKING:
    from torch import nn

MLFLOW_URIS = ("runs:/", "models:/")
PLAIN = (".pt", ".pth", ".bin", ".safetensors")  # how a state_dict's file is called


def load_checkpoint(location: str | Path, store: str | None = None) -> "nn.Module":
    """The best epoch's network, on the CPU, in evaluation mode.

    Args:
        location: a folder with ``config.json`` and ``model.safetensors`` (``studies/digits/best``); an MLflow URI
            (``runs:/<run id>/checkpoint``, ``models:/<name>/<version>``); or the file of a plain ``state_dict`` of one
            of the models, by ``torch.save`` or as ``.safetensors``.
        store: MLflow's tracking URI for such a URI; MLFLOW_TRACKING_URI, or the store in ``./studies``, if it is
            left out.

    Raises:
        InputError: the checkpoint is missing, truncated, or of another model than it says.
    """
    from topotune.training.checkpoint import load_model
    from topotune.training.state_dict import load_plain

    if is_plain(location):
        return load_plain(Path(location))[1]
    with checkpoint_folder(location, store) as folder:
        return load_model(folder)


def is_plain(location: str | Path) -> bool:
    """Whether a location is the file of a state_dict, be it there or not, and no folder."""
    return Path(location).suffix in PLAIN and not Path(location).is_dir()


@contextmanager
def checkpoint_folder(
    location: str | Path,
    store: str | None = None,
    settings: Mapping[str, Any] | None = None,
    data: Path | None = None,
) -> Iterator[Path]:
    """The folder of a checkpoint; see ``load_checkpoint``.

    It is a temporary one where the checkpoint lies in MLflow, or is a plain state_dict. Of the latter ``settings``
    say what it does not: ``dataset`` and the like; ``data`` is the folder of the data sets.

    Raises:
        InputError: nothing is there, or settings are given for a checkpoint that has its own.
    """
    if not is_plain(location) and settings:
        raise InputError(f"{location} has its own settings: --set {next(iter(settings))}=… is for a plain state_dict")
    if not is_plain(location) and not str(location).startswith(MLFLOW_URIS):
        yield Path(location)
        return
    with tempfile.TemporaryDirectory() as folder:
        if is_plain(location):
            from topotune.training.state_dict import adopt

            adopt(Path(location), Path(folder), settings or {}, data)
            yield Path(folder)
            return
        from topotune.tracking import default_store, download

        tracking = store or os.environ.get("MLFLOW_TRACKING_URI") or default_store(Path("studies"))
        yield download(str(location), tracking, Path(folder))


@dataclass(frozen=True)
class Checkpoints:
    """Checkpoints, and the table that what is found of them goes to.

    locations: folders, MLflow URIs, files of a state_dict.
    out: a CSV file; what it holds already is not measured again, wherever the same weights lie now.
    data: the folder of the data sets.
    store: MLflow's tracking URI, for such URIs.
    settings: of a state_dict, which has none: ``dataset`` and the like.
    log: whether the store is told of those too that do not lie in MLflow.

    Raises:
        InputError: ``out`` is no CSV file in a folder that there is.
    """

    locations: Sequence[str]
    out: Path
    data: Path | None = None
    store: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    log: bool = False

    def __post_init__(self) -> None:
        if self.out.suffix != ".csv" or not self.out.absolute().parent.is_dir():
            raise InputError(f"--out {self.out}: must be a file called .csv in a folder that there is")

    def folder(self, location: str) -> AbstractContextManager[Path]:
        """The folder of one of them; see ``checkpoint_folder``."""
        return checkpoint_folder(location, self.store, self.settings, self.data)

    def told(self, location: str) -> str | None:
        """The store that is told what is found of one of them, if any."""
        return self.store if self.log or location.startswith(MLFLOW_URIS) else None


def weights_hash(checkpoint: Path) -> str:
    """What tells a checkpoint's weights from all others.

    Raises:
        InputError: there is no checkpoint, or it has no weights.
    """
    from topotune.training import WEIGHTS
    from topotune.training.checkpoint import load_config

    load_config(checkpoint)  # of what is no checkpoint, one line
    path = checkpoint / WEIGHTS
    if not path.is_file():
        raise InputError(f"{path} is missing: the folder holds no trained model")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
