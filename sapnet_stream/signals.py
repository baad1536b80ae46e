"""Who answers the signals that end a program."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def answering(
    answer: Callable[[int, object], None], signals: Sequence[signal.Signals]
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
