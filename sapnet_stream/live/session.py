"""One connection of an output, or one file, as it is seen from this side of the pipe."""

import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import av

from sapnet_stream.flow import Cancellation
from sapnet_stream.live.child import Child
from sapnet_stream.live.fault import Fault
from sapnet_stream.live.output import Output
from sapnet_stream.live.program import VIDEO, Unit
from sapnet_stream.live.template import FLUSH_PACKETS, INTERLEAVE, ONWARD, described

# The other end takes nothing for so long: it is dead.
SILENCE_SECONDS = 8.0
# What it may take to finish once the job was cancelled.
FINISH_SECONDS = 3.0
_WAKE_SECONDS = 0.1


class Patience:
    """How long an output may take nothing.

    Args:
        cancellation: shortens every wait.
    """

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation
        self._cancelled_seconds: float | None = None

    def left(self, waited_seconds: float) -> float:
        """How many seconds there are to wait, after having waited so many."""
        if not self._cancellation.cancelled:
            return SILENCE_SECONDS - waited_seconds
        now = time.monotonic()
        if self._cancelled_seconds is None:
            self._cancelled_seconds = now
        return FINISH_SECONDS - (now - self._cancelled_seconds)


class Outlet:
    """What the child writes, as a file that never waits longer than it should.

    Args:
        child: whose data it is.
        left: says how many seconds there are to wait, after having waited so many.

    Attributes:
        broken: the child has ended, or the wait was given up; what is written now is lost.
        silent: it was the wait.
    """

    def __init__(self, child: Child, left: Callable[[float], float]) -> None:
        self._file = child.data
        os.set_blocking(self._file.fileno(), False)
        self._left = left
        self.broken = self.silent = False

    def write(self, data: bytes) -> int:
        """All of `data`, or as much as there is use for."""
        rest = memoryview(data)
        began = time.monotonic()
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        while rest and not self.broken:
            try:
                rest = rest[os.write(self._file.fileno(), rest) :]
            except BlockingIOError:
                poll.poll(_WAKE_SECONDS * 1000)
                self.silent = self._left(time.monotonic() - began) <= 0
                self.broken = self.silent
            except BrokenPipeError:
                self.broken = True
        return len(data)


class Session:
    """Sends the units of one description.

    Args:
        output: where to.
        description: of the streams.
        cancellation: shortens every wait.

    Attributes:
        description: of the streams.
        whole: the last picture sent is there for the next to build upon.
        held_seconds: since the child said that the output is open; 0 before.
    """

    def __init__(self, output: Output, description: bytes, cancellation: Cancellation) -> None:
        self.description = description
        self.whole = False
        self._patience = Patience(cancellation)
        self._open_seconds: float | None = None
        path = output.address.path if output.is_file else None
        settings = {
            "url": output.url,
            "host": output.address.bare_host,
            "path": path,
            "format": output.format,
            "options": {**output.options, **INTERLEAVE},
            "segment_seconds": output.segment_seconds,
            "keep": asdict(output.keep),
        }
        stdout = None if output.address.scheme == "pipe" else subprocess.DEVNULL
        self._child = Child("sapnet_stream.live.sender", settings, "write", stdout=stdout)
        self._outlet = Outlet(self._child, self._patience.left)
        try:
            self._open()
        except BaseException:
            self._outlet.broken = True
            self._child.close()
            raise

    def _open(self) -> None:
        options = {**ONWARD, **INTERLEAVE}
        self._container = av.open(self._outlet, "w", format="nut", options=options)
        self._container.flags |= FLUSH_PACKETS
        with described(self.description) as templates:
            self._streams = [
                self._container.add_stream_from_template(each, opaque=True) for each in templates
            ]

    @property
    def held_seconds(self) -> float:
        return 0.0 if self._open_seconds is None else time.monotonic() - self._open_seconds

    def takes(self, unit: Unit) -> bool:
        """Whether a unit can follow what was sent."""
        if unit.stream == VIDEO:
            self.whole = self.whole or unit.keyframe
            return self.whole
        return self._open_seconds is not None or self.whole

    def write(self, unit: Unit) -> bool:
        """Send a unit; False where the output is lost."""
        packet = av.Packet(unit.data)
        packet.pts, packet.dts, packet.duration = unit.pts, unit.dts, unit.duration
        packet.time_base = unit.time_base
        packet.is_keyframe = unit.keyframe
        packet.stream = self._streams[unit.stream]
        self._container.mux_one(packet)
        return not self._outlet.broken

    def reports(self) -> Iterator[dict[str, Any]]:
        """What the child has said since the last time."""
        for report in self._child.reports():
            if "open" in report and self._open_seconds is None:
                self._open_seconds = time.monotonic()
            yield report

    @property
    def words(self) -> dict[str, Any]:
        """All that the child has said so far, the latest of each name."""
        return self._child.words

    def finish(self) -> Fault:
        """Let the output be completed; returns how that went."""
        self._container.close()
        self._child.data.close()
        began = time.monotonic()
        while not self._child.wait(_WAKE_SECONDS):
            if self._patience.left(time.monotonic() - began) <= 0:
                return Fault.SILENT
        return self.fault()

    def fault(self) -> Fault:
        """Why it was lost."""
        if self._outlet.silent:
            return Fault.SILENT
        return Fault(self._child.last_words().get("fault", Fault.DIED))

    def close(self) -> None:
        """End the child, whatever it does."""
        self._outlet.broken = True
        self._container.close()
        self._child.close()
