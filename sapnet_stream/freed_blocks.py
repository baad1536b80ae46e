"""Blocks of memory that are freed stay with the process, for the next frame.

The GNU C library hands a large block back to the system as soon as it is freed, and each page of
the next one costs a fault and is zeroed: a fifth of the time of a 1080p frame, half of a 2160p one.
"""

import ctypes
from collections.abc import Callable

# malloc.h
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_blocks() -> None:
    """For the whole process, from now on; best before its threads begin.

    Nothing is mapped by itself or trimmed, and threads share one arena: theirs hold no block above
    64 MiB. See mallopt(3). Does nothing with another C library.
    """
    mallopt = _function("mallopt")
    if mallopt is not None:
        for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1)):
            mallopt(parameter, value)


def give_back_freed_blocks() -> None:
    """Return to the system what is free now, so that it counts as available."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _function(name: str) -> Callable[..., int] | None:
    """Of the C library that the process runs on."""
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, TypeError):
        # AttributeError where it has none, TypeError on Windows.
        return None
    return function
