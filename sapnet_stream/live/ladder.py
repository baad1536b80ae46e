"""Ways to derain, from the best to the fastest, and when to change between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sapnet_stream.video.frame import Frame

Derain: TypeAlias = Callable[[Frame], Frame]

# The way above is tried again when the present one takes so little of the device's time.
IDLE_LOAD = 0.4
FIRST_WAIT_SECONDS = 30.0
MOST_WAIT_SECONDS = 3600.0


@dataclass(frozen=True)
class Way:
    """One way to derain.

    Attributes:
        name: for people.
        begin: makes what derains the frames of one connection, in order.
    """

    name: str
    begin: Callable[[], Derain]


class Ladder:
    """The way in use.

    Args:
        ways: from the best to the fastest; with one of them there is nothing to change.
        now_seconds: of a monotonic clock.
    """

    def __init__(self, ways: Sequence[Way], now_seconds: float) -> None:
        self._ways = ways
        self._rung = 0
        self._since_seconds = now_seconds
        self._wait_seconds = FIRST_WAIT_SECONDS
        # This way is a better one that was too slow before.
        self._tried = False

    @property
    def way(self) -> Way:
        """What to derain with now."""
        return self._ways[self._rung]

    def step(self, slow: bool, load: float, now_seconds: float) -> bool:
        """Take a faster way when slow, a better one when idle; returns whether it changed.

        A better way that was too slow again is tried after twice the time.
        """
        held = now_seconds - self._since_seconds
        if slow and self._rung + 1 < len(self._ways):
            if self._tried:
                again = 2 * self._wait_seconds if held < self._wait_seconds else FIRST_WAIT_SECONDS
                self._wait_seconds = min(again, MOST_WAIT_SECONDS)
            self._rung += 1
            self._tried = False
        elif load < IDLE_LOAD and self._rung and held >= self._wait_seconds:
            self._rung -= 1
            self._tried = True
        else:
            return False
        self._since_seconds = now_seconds
        return True
