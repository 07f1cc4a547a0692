"""A plain state_dict of one of the models, as torch.save or safetensors wrote it, made a checkpoint of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from topotune.config import TrialConfig
from topotune.data import dataset_entry
from topotune.errors import InputError
from topotune.files import write_json
from topotune.models import MODELS
from topotune.models.topographic import build_model
from topotune.training import CONFIG
from topotune.training.checkpoint import save_weights

RANKS = "module."  # what DistributedDataParallel puts before every name


def adopt(path: Path, folder: Path, settings: Mapping[str, Any], data: Path | None = None) -> None:
    """Write the checkpoint of a state_dict into ``folder``.

    Args:
        path: a file of torch.save (read as tensors only, never as code), or .safetensors.
        folder: where config.json and model.safetensors go.
        settings: of the trial that it might be of, as far as they are known: ``dataset`` at least, ``topography`` …;
            the model is seen from the tensors.
        data: the folder of the data sets, for one of the user's own.

    Raises:
        InputError: what ``load_plain`` raises, no data set is named, or one for another network.
    """
    name, model, in_channels, classes = load_plain(path)
    if "dataset" not in settings:
        raise InputError(f"{path} does not say which data it is for: give --set dataset=…, and more settings if known")
    config = TrialConfig.from_dict({"model": name} | dict(settings), where="--set")
    if config.model != name:
        raise InputError(f"--set model={config.model}: {path} holds the weights of {name!r}")
    entry = dataset_entry(config.dataset, data)
    if (entry.shape[0], entry.classes) != (in_channels, classes):
        raise InputError(
            f"--set dataset={config.dataset}: has {entry.shape[0]} channels and {entry.classes} classes, but "
            f"{path} is of a network for {in_channels} and {classes}"
        )
    write_json(folder / CONFIG, config.to_dict())
    save_weights(folder, model, config, in_channels, classes)


def load_plain(path: Path) -> tuple[str, nn.Module, int, int]:
    """Which model a state_dict is of, that model in evaluation mode, and its numbers of channels and classes.

    Raises:
        InputError: the file is no state_dict, or one of no model here.
    """
    tensors = {name.removeprefix(RANKS): one for name, one in _read(path).items()}
    name, in_channels, classes = _recognised(tensors, path)
    model = _empty(name, in_channels, classes)
    model.load_state_dict(tensors, assign=True)
    return name, model.eval(), in_channels, classes


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error})") from None
    except Exception:  # noqa: BLE001 (a damaged file makes torch raise nearly anything, and advise the unsafe)
        raise InputError(
            f"{path} is damaged, or holds more than tensors; give what torch.save(model.state_dict(), …) wrote"
        ) from None
    if not _is_state_dict(found):
        inner = [name for name, one in found.items() if _is_state_dict(one)] if isinstance(found, dict) else []
        held = f" by itself: it is below {inner[0]!r}" if inner else ""
        raise InputError(f"{path} holds no state_dict{held}; give what torch.save(model.state_dict(), …) wrote")
    return dict(found)


def _is_state_dict(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(one, Tensor) for one in value.values())


def _recognised(tensors: Mapping[str, Tensor], path: Path) -> tuple[str, int, int]:
    """Which model the tensors are of, for how many channels and classes."""
    for name in MODELS:
        names = list(_empty(name, 1, 2).state_dict())
        if set(names) != set(tensors):
            continue
        first, last = tensors[names[0]], tensors[names[-1]]  # a convolution's weights, the last layer's bias
        if first.dim() != 4 or last.dim() != 1:
            continue
        in_channels, classes = first.shape[1], len(last)
        wanted = _empty(name, in_channels, classes).state_dict()
        for own, tensor in tensors.items():
            if tensor.shape != wanted[own].shape:
                raise InputError(
                    f"{path}: {own} is {tuple(tensor.shape)}, and {tuple(wanted[own].shape)} in {name!r}, whose names "
                    "the tensors have: it is of another network"
                )
        return name, in_channels, classes
    raise InputError(f"{path}: its tensors ({', '.join(list(tensors)[:3])} …) are those of none of {', '.join(MODELS)}")


def _empty(name: str, in_channels: int, classes: int) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return build_model(name, in_channels, classes)
