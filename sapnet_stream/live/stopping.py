"""Signals that end the program."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sapnet_stream.signals import answering

# A frame that is being derained cannot be interrupted, and would hold up the end.
MOST_STOPPING_SECONDS = 4.5


@contextmanager
def stopping(cancel: Callable[[], None], stops: Sequence[signal.Signals]) -> Iterator[None]:
    """Within, a signal ends the job, and a second one the program.

    Args:
        cancel: ends the job; called in a signal handler.
        stops: the signals.
    """

    def stop(number: int, _: object) -> None:
        cancel()
        signal.signal(number, signal.SIG_DFL)
        # Ends the program by itself where what is being done does not end.
        signal.setitimer(signal.ITIMER_REAL, MOST_STOPPING_SECONDS)

    with answering(stop, stops):
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
