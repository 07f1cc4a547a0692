"""Memory: on a CPU, what a training step frees, the next one gets; and what to do when there is not enough."""

import ctypes
import sys
from functools import cache
from pathlib import Path

import torch

from topotune.errors import InputError
from topotune.files import read_table, write_json
from topotune.training import MEMORY

# of <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4

EVALUATED = 512  # images at once
# what torch's own allocator on a CPU says, the system through a library, or a GPU's libraries
_NO_MEMORY = (
    "DefaultCPUAllocator", "Cannot allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
    "std::bad_alloc", "could not create a memory object",
)  # fmt: skip


@cache
def keep_freed_memory() -> bool:
    """Have glibc's allocator keep large freed blocks for this process, instead of giving them back at once.

    By default every activation and gradient of some MiB is mapped anew in every step, and each of its pages faults in.
    The process then stays as large as its largest step. Returns whether the allocator is glibc's and agreed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))
    return all(mallopt(name, value) == 1 for name, value in settings)


def at_once(accumulate: int) -> int:
    """How many images are evaluated at once where a step is divided into so many micro-batches."""
    return max(EVALUATED // accumulate, 1)


def ran_out(error: BaseException) -> bool:
    """Whether an error says that a tensor found no memory, on a GPU or on a CPU."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    )


def micro_batches(out: Path, wanted: int) -> int:
    """Into how many micro-batches the trial in ``out`` divides a step: as wanted, or more since memory ran out."""
    path = out / MEMORY
    if not path.exists():
        return wanted
    found = read_table(path).get("accumulate")
    if type(found) is not int or found < 1:
        raise InputError(f"{path}: accumulate = {found!r} must be an integer >= 1; delete the file")
    return max(wanted, found)


def halve(out: Path, accumulate: int, share: int) -> str:
    """Divide the steps of the trial in ``out`` into twice as many micro-batches from now on; says so in words.

    Args:
        out: the trial's folder.
        accumulate: into how many they are divided now.
        share: samples of a step on one rank.

    Raises:
        InputError: a micro-batch would have fewer than two samples.
    """
    if share < 4 * accumulate:
        raise InputError(f"not enough memory even for micro-batches of {share // accumulate} samples")
    write_json(out / MEMORY, {"accumulate": 2 * accumulate})
    return (
        f"out of memory with {share // accumulate} samples at once: {2 * accumulate} micro-batches a step from here on"
    )
