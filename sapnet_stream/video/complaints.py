"""What FFmpeg has to say where something does not work."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock

import av.logging


class _Log:
    """FFmpeg's log: one for the whole process, and silent unless somebody listens."""

    def __init__(self) -> None:
        # Of one thread, too, the collector may end one block while another is entered.
        self._lock = RLock()
        self._listeners = 0
        self._counts: Counter[str] = Counter()
        # Of all threads, but for blocks that capture their own.
        self._capture = av.logging.Capture(local=False)
        self._before: tuple[int | None, bool] = (None, True)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """While this is entered, lines of up to the level INFO are kept and not printed."""
        with self._lock:
            self._listeners += 1
            if self._listeners == 1:
                self._before = av.logging.get_level(), av.logging.get_skip_repeated()
                self._capture.__enter__()
                # A line that was said before, of another file, is news of this one.
                av.logging.set_skip_repeated(False)
                av.logging.set_level(av.logging.INFO)
        try:
            yield
        finally:
            with self._lock:
                self._listeners -= 1
                if not self._listeners:
                    self._capture.logs.clear()
                    level, skip_repeated = self._before
                    av.logging.set_level(level)
                    av.logging.set_skip_repeated(skip_repeated)
                    self._capture.__exit__(None, None, None)

    def count(self, name: str) -> int:
        """How many lines codecs of a name have said so far."""
        with self._lock:
            while self._capture.logs:
                self._counts[self._capture.logs.pop()[1]] += 1
            return self._counts[name]


_LOG = _Log()


def attempt(opening: Callable[[], object]) -> tuple[Exception | None, list[str]]:
    """Open a decoder or an encoder.

    Returns:
        Why it did not open, or None; and its warnings and errors, one line each: at least one
        if it did not.
    """
    failure: Exception | None = None
    with _LOG.heard(), av.logging.Capture() as logs:
        try:
            opening()
        except (av.error.FFmpegError, ValueError, OverflowError) as error:
            failure = error
    lines = (text for level, _, text in logs if level <= av.logging.WARNING)
    said = list(dict.fromkeys(" ".join(line.split()) for line in lines))
    if failure and not said:
        said.append(getattr(failure, "strerror", str(failure)))
    return failure, said


@contextmanager
def complaint_count(name: str) -> Iterator[Callable[[], int]]:
    """A function that tells how many lines codecs of a name have said in this block.

    They may be of any thread, and of any such codec of the process. Threads of FFmpeg wait for
    Python's lock to say something: whoever waits for them must not hold it.

    Args:
        name: FFmpeg's, of a decoder or an encoder.
    """
    with _LOG.heard():
        before = _LOG.count(name)
        yield lambda: _LOG.count(name) - before
