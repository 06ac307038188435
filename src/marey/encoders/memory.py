"""How the process gets its memory, which costs a processor more than some of the arithmetic."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_KEEP: Final = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed for the next layer, in place of giving it back to the system each time.

    A network's activations are tens of megabytes a layer; by default each is mapped, faulted in page by page, and
    unmapped again. On two cores that made EfficientNet-Lite0 take 29 ms a picture where 11 are enough. All threads
    share one heap, for otherwise each keeps what it has freed to itself: 0.1 GB for each thread that decodes.
    Elsewhere than on glibc nothing is changed.

    Returns:
        Whether the allocator took it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # another C library, such as musl
    settings = {_M_MMAP_THRESHOLD: _KEEP, _M_TRIM_THRESHOLD: _KEEP, _M_ARENA_MAX: 1}
    taken = [bool(mallopt(name, value)) for name, value in settings.items()]
    return all(taken)
