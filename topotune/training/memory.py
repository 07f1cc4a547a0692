"""Memory on a CPU: what a training step frees, the next one gets, without a way through the kernel."""

import ctypes
import sys
from functools import cache

# of <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


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
