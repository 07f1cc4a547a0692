"""Where a network trains, and in which precision."""

from dataclasses import dataclass

import torch
from torch import Tensor

from topotune.errors import InputError

LAYOUT = torch.channels_last  # of images and weights


def pick_device(name: str, rank: int = 0) -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda``; with several GPUs in sight, this rank's own.

    Raises:
        InputError: ``cuda`` where there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device = 'cuda': torch sees no GPU here; use 'cpu' or 'auto'")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", rank % torch.cuda.device_count())


_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # as torch calls what x86 and ARM may have


def advice(precision: str, device: torch.device) -> str | None:
    """What speaks against a precision on a device, in one line; None where nothing does."""
    able = torch.cpu.get_capabilities()
    if precision == "float32" or device.type != "cpu" or any(able.get(name) for name in _BFLOAT16):
        return None
    return "precision = 'bfloat16': this CPU has no such arithmetic and imitates it; 'float32' is many times faster"


@dataclass(frozen=True)
class Precision:
    """Which device, and in which precision the forward pass runs."""

    device: torch.device
    bfloat16: bool

    def images(self, images: Tensor) -> Tensor:
        """Images in the memory layout that convolutions are fast in."""
        return images.to(memory_format=LAYOUT)

    def autocast(self) -> torch.autocast:
        """The context of the forward pass."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)
