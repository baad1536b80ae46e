"""What FFmpeg has to say where something does not work."""

from collections.abc import Iterator
from contextlib import contextmanager

import av.logging


@contextmanager
def complaints() -> Iterator[list[str]]:
    """The warnings and errors of this thread's block, one line each, when it is left."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    said: list[str] = []
    try:
        with av.logging.Capture() as logs:
            yield said
    finally:
        av.logging.set_level(level)
        # FFmpeg first says how often it repeated what it said before.
        said += [" ".join(text.split()) for _, _, text in logs if "(repeated" not in text]
