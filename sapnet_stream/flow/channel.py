"""A bounded queue between two threads, and the switch that wakes everyone who waits."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Cancelled(Exception):
    """Someone pulled the switch while this thread was waiting."""


class Cancellation:
    """One switch for all channels of a pipeline; it cannot be reset.

    All channels wait on this one condition, so that pulling the switch wakes every thread
    without anyone keeping a list of channels. Frames move a few hundred times a second at
    most, far below where sharing one lock would be felt.
    """

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.cancelled = False

    def cancel(self) -> None:
        """Make every present and future wait raise `Cancelled`."""
        with self.condition:
            self.cancelled = True
            self.condition.notify_all()

    def check(self) -> None:
        """For work that is long between waits.

        Raises:
            Cancelled: the switch was pulled.
        """
        if self.cancelled:
            raise Cancelled


class Channel(Generic[T]):
    """At most `capacity` items on their way from one thread to another, in order.

    `put` blocks while full, iteration while empty; both raise `Cancelled` once the switch
    is pulled. `close` lets the reader finish what is queued and stop.

    Args:
        capacity: most items at once, each of which takes one place.
        cancellation: the switch.
        newest: a live channel: `put` never blocks, and drops the oldest items instead.
        places: how many of `capacity` an item takes; one that takes more is let in alone.

    Attributes:
        dropped: items that made room for newer ones.
        put_wait_seconds: how long the writer has waited for room: the reader is slower.
        get_wait_seconds: how long the reader has waited for items: the writer is slower.
    """

    def __init__(
        self,
        capacity: int,
        cancellation: Cancellation,
        *,
        newest: bool = False,
        places: Callable[[T], int] = lambda _: 1,
    ) -> None:
        self._capacity = capacity
        self._newest = newest
        self._places = places
        self._taken = 0
        self.dropped = 0
        self._cancellation = cancellation
        self._items: deque[T] = deque()
        self._closed = False
        self._get_began_seconds: float | None = None
        self._got_seconds: float | None = None
        self.put_wait_seconds = 0.0
        self.get_wait_seconds = 0.0

    def put(self, item: T) -> None:
        """Append `item`, waiting for room or, where only the newest count, making it."""
        places = self._places(item)
        with self._cancellation.condition:
            while self._newest and not self._fits(places):
                self._take()
                self.dropped += 1
            self.put_wait_seconds += self._wait_for(lambda: self._fits(places))
            self._items.append(item)
            self._taken += places
            self._cancellation.condition.notify_all()

    def newest(self, item: T) -> T:
        """The newest item that is queued, `item` and others dropped for it; `item` where none is.

        For the reader that took `item` and could not use it at once.
        """
        with self._cancellation.condition:
            while self._items:
                item = self._take()
                self.dropped += 1
            self._cancellation.condition.notify_all()
        return item

    def close(self) -> None:
        """Say that no item follows."""
        with self._cancellation.condition:
            self._closed = True
            self._cancellation.condition.notify_all()

    @property
    def get_wait_so_far_seconds(self) -> float:
        """`get_wait_seconds`, with the wait that has not ended yet."""
        with self._cancellation.condition:
            began = self._get_began_seconds
            lasting = 0.0 if began is None else time.perf_counter() - began
            return self.get_wait_seconds + lasting

    @property
    def held_seconds(self) -> float:
        """How long the reader has worked at what it took last; 0 while it waits for more."""
        got = self._got_seconds
        return 0.0 if got is None else time.perf_counter() - got

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._cancellation.condition:
                self._get_began_seconds = time.perf_counter()
                try:
                    waited = self._wait_for(lambda: self._closed or bool(self._items))
                finally:
                    self._get_began_seconds = None
                self.get_wait_seconds += waited
                if not self._items:
                    return
                item = self._take()
                self._cancellation.condition.notify_all()
            self._got_seconds = time.perf_counter()
            try:
                yield item
            finally:
                self._got_seconds = None

    def _fits(self, places: int) -> bool:
        return not self._items or self._taken + places <= self._capacity

    def _take(self) -> T:
        item = self._items.popleft()
        self._taken -= self._places(item)
        return item

    def _wait_for(self, ready: Callable[[], bool]) -> float:
        began = time.perf_counter()
        self._cancellation.condition.wait_for(lambda: self._cancellation.cancelled or ready())
        self._cancellation.check()
        return time.perf_counter() - began
