"""topotune: distributed hyperparameter search for topographic neural networks.

    import topotune
    model = topotune.load_checkpoint("studies/digits/best")

The names below are loaded when they are first used, so that ``import topotune`` is quick.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topotune.config import TrialConfig as TrialConfig
    from topotune.data.splits import load_split as load_split
    from topotune.errors import InputError as InputError
    from topotune.followup.pruning import prune_channels as prune_channels
    from topotune.followup.robustness import robustness_curve as robustness_curve
    from topotune.load import load_checkpoint as load_checkpoint
    from topotune.losses.channel import channel_loss as channel_loss
    from topotune.losses.strength import GradientRatio as GradientRatio
    from topotune.models.compact import compact as compact
    from topotune.models.topographic import LayerOutputs as LayerOutputs
    from topotune.models.topographic import build_model as build_model
    from topotune.models.topographic import select_layers as select_layers
    from topotune.models.topographic import topographic_layers as topographic_layers
    from topotune.search.study_file import load_study as load_study
    from topotune.topography.positions import positions as positions
    from topotune.topography.targets import target_similarity as target_similarity
    from topotune.training.fit import fit as fit
    from topotune.training.launch import train as train
    from topotune.training.topography import Topography as Topography

_HOMES = {
    "GradientRatio": "losses.strength",
    "InputError": "errors",
    "LayerOutputs": "models.topographic",
    "Topography": "training.topography",
    "TrialConfig": "config",
    "build_model": "models.topographic",
    "channel_loss": "losses.channel",
    "compact": "models.compact",
    "fit": "training.fit",
    "load_checkpoint": "load",
    "load_split": "data.splits",
    "load_study": "search.study_file",
    "positions": "topography.positions",
    "prune_channels": "followup.pruning",
    "robustness_curve": "followup.robustness",
    "select_layers": "models.topographic",
    "target_similarity": "topography.targets",
    "topographic_layers": "models.topographic",
    "train": "training.launch",
}
__all__ = sorted(_HOMES)

try:
    __version__ = version("topotune")
except PackageNotFoundError:  # run from a checkout that is not installed, as a Ray job's working folder is
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'topotune' has no attribute {name!r}")
    return getattr(import_module(f"topotune.{_HOMES[name]}"), name)
