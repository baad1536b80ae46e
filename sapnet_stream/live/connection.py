"""One connection to a stream, as it is seen from this side of the pipe."""

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import av.container

from sapnet_stream.live.child import Child, readable
from sapnet_stream.live.template import NO_PROBE
from sapnet_stream.video.hardware import HardwareDecoder

_WAKE_SECONDS = 0.1


class Pipe:
    """What the child reads, as a file that never waits longer than it should.

    Args:
        child: whose data it is.
        patient: told how many seconds nothing came; says whether to wait on.

    Attributes:
        silent: the wait was given up.
    """

    def __init__(self, child: Child, patient: Callable[[float], bool]) -> None:
        self._child = child
        self._patient = patient
        self.silent = False

    def read(self, size: int) -> bytes:
        """At least one byte; none at the end, or where the wait was given up."""
        began = time.monotonic()
        # FFmpeg reads again after an end, in case there is more.
        while not (self.silent or readable(self._child.data, _WAKE_SECONDS)):
            if not self._patient(time.monotonic() - began):
                self.silent = True
        return b"" if self.silent else self._child.data.read(size) or b""


class Connection:
    """One stretch of a stream, from connecting to the end of that connection.

    Two threads use the container, one to read packets and one to decode them. It is closed when
    the last who had this has let go of it, be it a packet that nobody decoded.

    Args:
        number: 0 for the first.
        pipe: what comes.
        hardware: decodes the pictures where it knows their codec; None is the CPU.

    Attributes:
        number: 0 for the first.
        container: PyAV's, over the pipe.
        video: its video stream.
        audio: its stream of sound, or None.
    """

    def __init__(self, number: int, pipe: Pipe, hardware: HardwareDecoder | None = None) -> None:
        self.number = number
        # The child knows all of the stream already; there is nothing to probe.
        container = av.open(
            pipe,
            "r",
            format="nut",
            options=NO_PROBE,
            hwaccel=None if hardware is None else hardware.settings(),
        )
        # Left open, it and its streams keep each other until Python's collector comes by.
        weakref.finalize(self, container.close)
        self.container = container
        self.video = container.streams.video[0]
        self.audio = next(iter(container.streams.audio), None)


@dataclass(frozen=True)
class LivePacket:
    """A packet of video on its way to the decoder.

    Attributes:
        packet: PyAV's.
        connection: that it came through.
        number: counts the packets of video of all connections.
        arrival_seconds: on this machine's monotonic clock.
    """

    packet: Any
    connection: Connection
    number: int
    arrival_seconds: float
