"""Frames on their way through a device: one is sent while one is derained and one fetched.

On a GPU three queues work at the same time, and the program only fills them: copies to the
device, what is computed, copies back. On a CPU the same calls do the work at once.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
Lane = Literal["up", "compute", "down"]
Finish: TypeAlias = Callable[[], T]
"""Waits for something that was begun, and returns it."""


class Mark(Protocol):
    """A place in a lane."""

    def synchronize(self) -> None:
        """Wait until the lane's work up to here is done."""
        ...


class Device(Protocol):
    """Lanes that run side by side, each in order.

    Attributes:
        slots: how many frames may be under way.
    """

    slots: int

    def run(self, lane: Lane, after: Mark | None, work: Callable[[], T]) -> tuple[T, Mark]:
        """Queue what `work` does behind `after` and all that is in the lane; mark its end."""
        ...

    def sent(self, plane: Tensor) -> Tensor:
        """A plane of the host where the lanes read it; call it in "up"."""
        ...

    def fetched(self, plane: Tensor) -> Tensor:
        """A plane on its way back, whole when "down" is marked; call it there."""
        ...

    def between(self) -> AbstractContextManager[None]:
        """Within, the caller's own work has "compute" to itself."""
        ...


class Done:
    """The mark of work that was done at once."""

    def synchronize(self) -> None:
        """Nothing is left to wait for."""


class Host:
    """The CPU: everything is done when it is queued, and planes stay where they are."""

    slots = 1

    def run(self, lane: Lane, after: Mark | None, work: Callable[[], T]) -> tuple[T, Mark]:
        """See `Device`."""
        del lane, after
        return work(), Done()

    def sent(self, plane: Tensor) -> Tensor:
        """See `Device`."""
        return plane

    def fetched(self, plane: Tensor) -> Tensor:
        """See `Device`."""
        return plane

    def between(self) -> AbstractContextManager[None]:
        """See `Device`."""
        return nullcontext()


class Cuda:
    """A GPU: each lane is a CUDA stream, and planes go through pinned memory.

    PyTorch keeps pinned memory for the next frame, and hands none out before its copy has ended.

    Args:
        device: which.
    """

    # One in each lane.
    slots = 3

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # The host waits for what is small and comes before the network: it goes first.
        priorities: dict[Lane, int] = {"up": -1, "compute": 0, "down": 0}
        self._streams = {
            lane: torch.cuda.Stream(device, priority)  # type: ignore[no-untyped-call]
            for lane, priority in priorities.items()
        }
        # The weights may be on their way yet.
        for stream in self._streams.values():
            stream.wait_stream(torch.cuda.current_stream(device))

    def run(self, lane: Lane, after: Mark | None, work: Callable[[], T]) -> tuple[T, Mark]:
        """See `Device`."""
        stream = self._streams[lane]
        with torch.cuda.stream(stream):
            if after is not None:
                assert isinstance(after, torch.cuda.Event)
                stream.wait_event(after)
            # Waiting must not cost a core that the encoder could have.
            event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            return work(), stream.record_event(event)

    def sent(self, plane: Tensor) -> Tensor:
        """See `Device`."""
        pinned = torch.empty(plane.shape, dtype=plane.dtype, pin_memory=True)
        return pinned.copy_(plane).to(self._device, non_blocking=True)

    def fetched(self, plane: Tensor) -> Tensor:
        """See `Device`."""
        pinned = torch.empty(plane.shape, dtype=plane.dtype, pin_memory=True)
        return pinned.copy_(plane, non_blocking=True)

    @contextmanager
    def between(self) -> Generator[None, None, None]:
        """See `Device`."""
        compute, own = self._streams["compute"], torch.cuda.current_stream(self._device)
        own.wait_stream(compute)
        try:
            yield
        finally:
            compute.wait_stream(own)


@dataclass
class _Slot:
    """A frame under way.

    Attributes:
        end: of all its work.
        held: memory of one lane that another reads: its own lane would hand it out again.
    """

    end: Mark
    held: tuple[object, ...]

    def wait(self) -> None:
        self.end.synchronize()
        self.held = ()


class Slots:
    """Takes frames in order, as many at once as the device has slots for.

    Args:
        device: does the work.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._busy: deque[_Slot] = deque()

    def start(
        self, send: Callable[[], T], derain: Callable[[T], U], fetch: Callable[[U], V]
    ) -> Finish[V]:
        """Queue a frame's way; waits for the oldest frame while no slot is free.

        Args:
            send: brings the frame to the device.
            derain: takes what `send` returned.
            fetch: brings back what `derain` returned.

        Returns:
            Waits for what `fetch` returned. An error of the device is raised there or, if
            it is known earlier, by a later `start`: see `in_order`.
        """
        while len(self._busy) >= self.device.slots:
            self._busy.popleft().wait()
        sent, mark = self.device.run("up", None, send)
        result, mark = self.device.run("compute", mark, lambda: derain(sent))
        slot = _Slot(mark, (sent, result))
        self._busy.append(slot)
        fetched, slot.end = self.device.run("down", mark, lambda: fetch(result))

        def finish() -> V:
            slot.wait()
            return fetched

        return finish


def in_order(begun: Iterable[Finish[T]], slots: int) -> Generator[T, None, None]:
    """What was begun, one after the other, each when `slots` are under way or no more come.

    An error while something begins is raised behind all that began before it.
    """
    waiting: deque[Finish[T]] = deque()
    iterator = iter(begun)
    failure: Exception | None = None
    while True:
        try:
            waiting.append(next(iterator))
        except StopIteration:
            break
        except Exception as error:  # noqa: BLE001 - kept, and raised in its turn
            failure = error
            break
        if len(waiting) >= slots:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()
    if failure is not None:
        raise failure
