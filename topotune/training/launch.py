"""Training without a search: in this process, or in several new ones of this machine."""

import sys
from contextlib import suppress
from pathlib import Path

import torch

from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.training import checkpoint, distributed
from topotune.training.arrangement import check_layers
from topotune.training.device import pick_device
from topotune.training.fit import fit
from topotune.training.records import OutOfMemory, Report, TrialResult, TrialStopped, read_result


def train(config: TrialConfig, out: Path, data: Path | None = None, *, report: Report | None = None) -> TrialResult:
    """``fit`` in this process, or in as many new processes of this machine as ``config.workers`` says.

    ``report`` then runs in the first of them, so it must be importable there.
    """
    if config.workers == 1:
        return fit(config, out, data, report=report)
    if pick_device(config.device).type == "cuda" and config.workers > torch.cuda.device_count():
        raise InputError(
            f"workers = {config.workers}: each needs a GPU of its own, and {torch.cuda.device_count()} are here"
        )
    check_layers(config)
    checkpoint.check_free(out, config)
    while True:
        try:
            distributed.launch(config.workers, _fit_rank, config, out, data, report)
            break
        except OutOfMemory as error:
            print(error, file=sys.stderr, flush=True)
    result = read_result(out)
    assert result is not None  # every rank ended without an error
    return result


def _fit_rank(
    rank: int, address: str, config: TrialConfig, out: Path, data: Path | None, report: Report | None
) -> None:
    device = pick_device(config.device, rank)
    # stopped within the group: what an exception holds must be gone before the group is
    with distributed.process_group(rank, config.workers, address, device), suppress(TrialStopped):
        fit(config, out, data, report=report)
