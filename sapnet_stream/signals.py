"""Who answers the signals that end a program."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The exit status of a program that they end.
STOPPED = 130
# A frame that is being derained cannot be interrupted, and would hold up the end.
MOST_STOPPING_SECONDS = 4.5


@contextmanager
def answering(
    answer: Callable[[int, object], None], signals: Sequence[signal.Signals] = STOPS
) -> Iterator[None]:
    """Within, `answer` is called where one of `signals` arrives; afterwards, who was before."""
    handlers = {each: signal.getsignal(each) for each in signals}
    for each, handler in handlers.items():
        # What started this program may have asked it to ignore one, as nohup does.
        if handler != signal.SIG_IGN:
            signal.signal(each, answer)
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


@contextmanager
def stopping(
    cancel: Callable[[], None], signals: Sequence[signal.Signals] = STOPS
) -> Iterator[None]:
    """Within, a signal ends a live job, and a second Ctrl-C the program.

    Other signals may come twice: `timeout` sends one to a process and to its group.

    Args:
        cancel: ends the job; called in a signal handler.
        signals: that do.
    """

    asked = False

    def stop(number: int, _: object) -> None:
        nonlocal asked
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
        if not asked:
            asked = True
            cancel()
            # Ends the program by itself where what is being done does not end.
            signal.setitimer(signal.ITIMER_REAL, MOST_STOPPING_SECONDS)

    with answering(stop, signals):
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
