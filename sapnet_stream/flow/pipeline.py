"""Stages on threads of their own, joined by channels; the first error ends them all."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

from sapnet_stream.flow.channel import Cancellation, Cancelled, Channel

_SIGNAL_SECONDS = 0.2

T = TypeVar("T")
U = TypeVar("U")


@dataclass
class StageStats:
    """Where a stage's time went, in seconds: its own work, or waiting for a neighbour."""

    name: str
    busy_seconds: float = 0.0
    input_wait_seconds: float = 0.0
    output_wait_seconds: float = 0.0


class Pipeline:
    """Generators chained across threads.

    Each stage is a generator over its input's items; it runs, and is closed, on its own
    thread, so a stage may hold what must stay on one thread. The first exception cancels
    the rest and is raised by `run` with a note naming its stage. No thread outlives `run`.
    """

    def __init__(self) -> None:
        self.cancellation = Cancellation()
        self.stats: list[StageStats] = []
        self._threads: list[threading.Thread] = []
        self._error: Exception | None = None

    def source(
        self,
        name: str,
        items: Callable[[], Generator[U, None, None]],
        capacity: int,
        *,
        newest: bool = False,
        places: Callable[[U], int] = lambda _: 1,
    ) -> Channel[U]:
        """A stage without input; `items()` is called on the stage's thread.

        With `newest`, it never waits for the stage that follows; see `Channel`, `places` too.
        """
        output: Channel[U] = Channel(capacity, self.cancellation, newest=newest, places=places)
        self._add(name, items, None, output)
        return output

    def stage(
        self,
        name: str,
        work: Callable[[Iterator[T]], Generator[U, None, None]],
        source: Channel[T],
        capacity: int,
        *,
        newest: bool = False,
    ) -> Channel[U]:
        """A stage that turns the items of `source` into others; `newest` as in `source`."""
        output: Channel[U] = Channel(capacity, self.cancellation, newest=newest)
        self._add(name, lambda: work(iter(source)), source, output)
        return output

    def sink(
        self,
        name: str,
        work: Callable[[Iterator[T]], Generator[None, None, None]],
        source: Channel[T],
    ) -> None:
        """The last stage: a generator too, whose values are dropped."""
        self._add(name, lambda: work(iter(source)), source, None)

    def run(self) -> None:
        """Run until every stage has ended, then raise the first error if there was one.

        Raises:
            Cancelled: `cancel` was called and no stage failed.
        """
        try:
            for thread in self._threads:
                thread.start()
            self._join()
        finally:
            # Ctrl-C arrives on the main thread, in the middle of the join or of a start.
            if any(thread.is_alive() for thread in self._threads):
                self.cancel()
                self._join()
        if self._error is not None:
            raise self._error
        if self.cancellation.cancelled:
            raise Cancelled

    def cancel(self) -> None:
        """End all stages at their next wait; safe from any thread, any number of times."""
        self.cancellation.cancel()

    def fail(self, error: Exception, where: str) -> None:
        """End all stages; `run` raises the first error, with a note that names where it was."""
        with self.cancellation.condition:
            if self._error is None:
                error.add_note(f"in {where}")
                self._error = error
        self.cancel()

    def _join(self) -> None:
        for thread in self._threads:
            while thread.ident is not None and thread.is_alive():
                # A signal that arrives just before a wait begins is seen only when it ends.
                thread.join(_SIGNAL_SECONDS)

    def _add(
        self,
        name: str,
        items: Callable[[], Generator[Any, None, None]],
        source: Channel[Any] | None,
        output: Channel[Any] | None,
    ) -> None:
        stats = StageStats(name)
        self.stats.append(stats)
        self._threads.append(
            threading.Thread(
                target=self._drive, args=(stats, items, source, output), name=f"sapnet-{name}"
            )
        )

    def _drive(
        self,
        stats: StageStats,
        items: Callable[[], Generator[Any, None, None]],
        source: Channel[Any] | None,
        output: Channel[Any] | None,
    ) -> None:
        began = time.perf_counter()
        if source is None and self.cancellation.cancelled:
            # The others find out at their first wait for input.
            return
        try:
            with closing(items()) as generator:
                for item in generator:
                    if output is not None:
                        output.put(item)
            for item in source or ():
                raise RuntimeError(f"ended with input left over, beginning with {item!r}")
            if output is not None:
                output.close()
        except Cancelled:
            self.cancel()
        except Exception as error:  # noqa: BLE001 - kept, noted, and raised by run()
            self.fail(error, f"stage {stats.name}")
        finally:
            stats.input_wait_seconds = source.get_wait_seconds if source else 0.0
            stats.output_wait_seconds = output.put_wait_seconds if output else 0.0
            stats.busy_seconds = (
                time.perf_counter() - began - stats.input_wait_seconds - stats.output_wait_seconds
            )
