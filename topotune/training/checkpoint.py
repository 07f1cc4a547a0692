"""What a training run leaves on disk, and how it is read back.

config.json          the trial's settings
model.safetensors    the weights of the best epoch; its header names the model and the config
last/state.pt        weights, optimiser and history after the last epoch, to go on from
last/previous.pt     the same after the epoch before, should that one be damaged
last/memory.json     after a lack of memory: how many micro-batches a step is divided into since (memory.py)
metrics.csv          one row an epoch
result.json          written once the run is finished
arrangement.json     the channels' positions, where they were learned or assigned (arrangement.py)
"""

import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from topotune.config import TrialConfig
from topotune.data import DatasetEntry
from topotune.errors import InputError
from topotune.files import read_table, write_bytes, write_json
from topotune.models.compact import compact
from topotune.models.topographic import build_model
from topotune.training import CONFIG, PREVIOUS, STATE, WEIGHTS

HEADER = "topotune"  # one entry: safetensors writes several in any order, and equal runs should leave equal files


@dataclass(frozen=True)
class Compacted:
    """What a compact network was made by: layer -> output channels that are gone, and an image's (C, H, W)."""

    gone: Mapping[str, Sequence[int]]
    shape: Sequence[int]


def save_weights(
    folder: Path, model: nn.Module, config: TrialConfig, in_channels: int, classes: int,
    compacted: Compacted | None = None,
) -> None:  # fmt: skip
    """Write ``model.safetensors``: every parameter and buffer, and a header from which the model can be rebuilt."""
    header: dict[str, Any] = {"model": config.model, "in_channels": in_channels, "classes": classes}
    header["config_hash"] = config.hash
    if compacted:
        header["compact"] = asdict(compacted)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = save(tensors, {HEADER: json.dumps(header)})
    write_bytes(folder / WEIGHTS, content)


def load_config(folder: Path) -> TrialConfig:
    """The settings of the checkpoint in ``folder``.

    Raises:
        InputError: no checkpoint, or one that no TrialConfig fits.
    """
    if not folder.is_dir():
        raise InputError(f"no checkpoint at {folder}: there is no such folder")
    values = read_table(folder / CONFIG)
    return TrialConfig.from_dict(values, where=str(folder / CONFIG))


def load_model(folder: Path) -> nn.Module:
    """The best epoch's network of the checkpoint in ``folder``, on the CPU, in evaluation mode.

    Raises:
        InputError: a file is missing or truncated, or the weights are another model's.
    """
    config, path = load_config(folder), folder / WEIGHTS
    header, tensors = _read_weights(path)
    if header.get("model") != config.model or header.get("config_hash") != config.hash:
        raise InputError(
            f"{path} holds model {header.get('model')!r} of trial {header.get('config_hash')}, but {folder / CONFIG} "
            f"describes {config.model!r} of trial {config.hash}: the two do not belong together"
        )
    state = torch.random.get_rng_state()  # building draws weights that are thrown away
    model = build_model(config.model, int(header["in_channels"]), int(header["classes"]))
    torch.random.set_rng_state(state)
    if "compact" in header:
        own = Compacted(**header["compact"])
        model = compact(model, own.gone, torch.zeros(1, *own.shape))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit model {config.model!r}: {str(error).splitlines()[-1].strip()}") from None
    return model.eval()


def read_header(folder: Path) -> dict[str, Any]:
    """What the weights say of themselves: model, in_channels, classes, config_hash; of a compact network, compact.

    Raises:
        InputError: they are missing or truncated.
    """
    return _read_weights(folder / WEIGHTS)[0]


def check_data(folder: Path, dataset: str, entry: DatasetEntry) -> None:
    """Whether a checkpoint's network can be tested on a data set.

    Raises:
        InputError: it is for other channels or classes.
    """
    header = read_header(folder)
    if (header["in_channels"], header["classes"]) != (entry.shape[0], entry.classes):
        raise InputError(
            f"{folder} is of a network for {header['in_channels']} channels and {header['classes']} classes, but "
            f"dataset {dataset!r} has {entry.shape[0]} and {entry.classes}; give the folder of the data that it was "
            "trained on with --data"
        )


def _read_weights(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise InputError(f"{path} is missing: the folder holds no trained model")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise InputError(f"{path} is truncated or no safetensors file ({error})") from None


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write ``last/state.pt`` whole, and keep the one before: after a crash there is one or the other."""
    content = io.BytesIO()
    torch.save(state, content)
    fresh = folder / f"{STATE}.new"
    write_bytes(fresh, content.getbuffer())
    if (folder / STATE).exists():
        os.replace(folder / STATE, folder / PREVIOUS)
    os.replace(fresh, folder / STATE)


def load_state(folder: Path) -> dict[str, Any] | None:
    """What ``save_state`` left, or None; where the last one is damaged, the one before it, and stderr says so.

    Raises:
        InputError: neither can be read.
    """
    paths = [path for path in (folder / STATE, folder / PREVIOUS) if path.exists()]
    for path in paths:
        state = _read_state(path)
        if state is not None:
            if path != paths[0]:
                print(f"{paths[0]} is damaged; going on from {path}", file=sys.stderr, flush=True)
                paths[0].unlink()  # else the next one would push the good one out
            return state
    if not paths:
        return None
    raise InputError(
        f"{paths[0]} is damaged, or holds more than tensors and plain values; delete {paths[0].parent} to train this "
        "trial from its start"
    )


def _read_state(path: Path) -> dict[str, Any] | None:
    """Reads tensors and plain values only, never code; None where there is anything else."""
    try:
        with ZipFile(path) as archive:
            if archive.testzip() is not None:  # torch does not look at the checksums
                return None
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 (a damaged file makes torch raise nearly anything, and advise the unsafe)
        return None
    return state if isinstance(state, dict) and "epoch" in state else None


def check_free(folder: Path, config: TrialConfig) -> None:
    """Whether a trial can live in ``folder``.

    Raises:
        InputError: another trial lives there, or it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder; a trial needs one of its own")
    if (folder / CONFIG).exists():
        there = load_config(folder)
        if there.hash != config.hash:
            differing = [name for name, value in config.to_dict().items() if getattr(there, name) != value]
            raise InputError(
                f"{folder} holds another trial ({there.hash}, not {config.hash}); they differ in {', '.join(differing)}"
            )


def claim(folder: Path, config: TrialConfig) -> None:
    """Make ``folder`` this trial's own, which must be free."""
    if not (folder / CONFIG).exists():
        write_json(folder / CONFIG, config.to_dict())
