"""A person's wish to end a job early."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stop:
    """Asked once, the job ends with the part it is at; asked twice, at once.

    Nothing is raised where the wish arrives: a signal may come at any instruction, and an
    exception there may be lost or tear what was being done.

    Attributes:
        asked: how often.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._cancel: Callable[[], None] = lambda: None

    def ask(self) -> None:
        """Ask to stop; safe in a signal handler."""
        self.asked += 1
        if self.asked > 1:
            self._cancel()

    def check(self) -> None:
        """Leave if it must be at once.

        Raises:
            KeyboardInterrupt: it was asked for twice.
        """
        if self.asked > 1:
            raise KeyboardInterrupt

    @contextmanager
    def cancelling(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Within, `cancel` is called when the job must end at once."""
        self._cancel = cancel
        try:
            self.check()
            yield
        finally:
            self._cancel = lambda: None
        self.check()
