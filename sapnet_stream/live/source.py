"""A live stream as packets, whatever happens to the connection."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any

import av

from sapnet_stream.errors import InputError
from sapnet_stream.flow import Cancellation, Cancelled
from sapnet_stream.live.backoff import Backoff
from sapnet_stream.live.child import Child
from sapnet_stream.live.connection import Connection, LivePacket, Pipe
from sapnet_stream.live.fault import HOPELESS, Fault
from sapnet_stream.live.source_settings import SourceSettings

OPEN_SECONDS = 4.0
# Beyond what the open may take: a process to start on a busy machine.
_START_SECONDS = 6.0
# Sound goes on and pictures do not.
FROZEN_SECONDS = 10.0
# A camera is told that nobody reads on where it sends something in this time.
_FAREWELL_SECONDS = 0.8


class State(StrEnum):
    """What a camera is doing."""

    CONNECTING = "connecting"
    RUNNING = "running"
    STALLED = "stalled"
    BACKING_OFF = "backing-off"
    ENDED = "ended"
    # No source is: one of the stages behind it.
    STUCK = "stuck"


@dataclass
class SourceStats:
    """What happened so far.

    Attributes:
        state: of the source.
        attempts: to connect.
        connections: that brought at least one packet.
        counts: "corrupt" and "retimed" packets, "jumps" of the camera's clock, and "standing",
            the connections in which it did not go on.
    """

    state: State = State.CONNECTING
    attempts: int = 0
    connections: int = 0
    counts: Counter[str] = field(default_factory=Counter)


class Source:
    """Connects, reads, and connects again.

    Args:
        settings: where from.
        cancellation: ends every wait.
        on_audio: called with each packet of sound, on the reading thread.
        on_connection: called with each connection before its first packet, there too.
        on_event: told in one sentence what changes.
        on_resumed: called where packets come again after a stall, on the reading thread.

    Attributes:
        stats: what happened so far.
        newest_key: number of the last packet that needs none before it.
    """

    def __init__(
        self,
        settings: SourceSettings,
        cancellation: Cancellation,
        on_audio: Callable[[Any], None] = lambda _: None,
        on_connection: Callable[[Connection], None] = lambda _: None,
        on_event: Callable[[str], None] = lambda _: None,
        on_resumed: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._cancellation = cancellation
        self._on_audio = on_audio
        self._on_connection = on_connection
        self._on_event = on_event
        self._on_resumed = on_resumed
        self._backoff = Backoff(settings.cap_seconds)
        self._origin_seconds = time.monotonic()
        # Of the output's clock: no packet of a later connection may be before.
        self._last_seconds = 0.0
        self._packets = 0
        self.newest_key = 0
        self.stats = SourceStats()

    def packets(self) -> Generator[LivePacket, None, None]:
        """The packets of video of all connections.

        Raises:
            InputError: a mistake at the first connection, or too many failures in a row.
            Cancelled: someone pulled the switch.
        """
        while True:
            self.stats.state = State.CONNECTING
            self.stats.attempts += 1
            began, connections = time.monotonic(), self.stats.connections
            fault = yield from self._connected()
            if fault == Fault.ENDED and self._settings.finite:
                self.stats.state = State.ENDED
                return
            held = time.monotonic() - began if self.stats.connections > connections else 0.0
            delay = self._backoff.failed(held)
            self._give_up(fault)
            self._on_event(f"{fault}; the next attempt is in {delay:.1f} s")
            self.stats.state = State.BACKING_OFF
            with self._cancellation.condition:
                self._cancellation.condition.wait_for(
                    lambda: self._cancellation.cancelled, timeout=delay
                )
            self._check()

    def _connected(self) -> Generator[LivePacket, None, Fault]:
        """One attempt; returns why it ended."""
        try:
            started = self._child()
        except OSError:
            # Too many processes or open files.
            return Fault.DIED
        with _farewell(started) as child:
            pipe = Pipe(child, self._patient)
            try:
                connection = Connection(self.stats.connections, pipe, self._settings.hardware)
            except (av.error.FFmpegError, IndexError):
                # Nothing came, or not even the header; the child knows why.
                connection = None
            frozen = False
            if connection is not None:
                try:
                    frozen = yield from self._read(connection, child)
                except av.error.FFmpegError:
                    # It was cut off within a packet.
                    self.stats.counts["corrupt"] += 1
            self._check()
            if frozen:
                return Fault.FROZEN
            return Fault.SILENT if pipe.silent else self._last_words(child)

    def _child(self) -> Child:
        address = self._settings.address
        pipe = address.scheme == "pipe"
        settings = {
            "url": address.url,
            "host": address.bare_host,
            "format": self._settings.format,
            "options": self._settings.options,
            "open_seconds": None if pipe else OPEN_SECONDS,
            # The child gives up by itself if nobody ends it.
            "read_seconds": None if pipe else self._settings.patience_seconds + 1,
            "pace": self._settings.realtime,
            "origin_seconds": self._origin_seconds,
            "floor_seconds": self._last_seconds,
        }
        stdin = None if pipe else subprocess.DEVNULL
        return Child("sapnet_stream.live.receiver", settings, "read", stdin)

    def _read(self, connection: Connection, child: Child) -> Generator[LivePacket, None, bool]:
        """The packets of an open connection; returns whether the pictures ceased to come."""
        base = Counter(self.stats.counts)
        video_seconds = time.monotonic()
        frozen_seconds = max(FROZEN_SECONDS, self._settings.patience_seconds)
        try:
            for packet in connection.container.demux():
                now = time.monotonic()
                if not packet.size:
                    continue
                self._check()
                self._take_reports(child, base)
                self._arrived(packet, connection)
                if packet.stream.type == "audio":
                    if now - video_seconds > frozen_seconds:
                        return True
                    self._on_audio(packet)
                else:
                    video_seconds = now
                    self._packets += 1
                    if packet.is_keyframe:
                        self.newest_key = self._packets
                    yield LivePacket(packet, connection, self._packets, now)
            return False
        finally:
            self._take_reports(child, base)

    def _arrived(self, packet: Any, connection: Connection) -> None:
        self._last_seconds = max(self._last_seconds, float(packet.pts * Fraction(packet.time_base)))
        if self.stats.state == State.RUNNING:
            return
        if self.stats.state == State.CONNECTING:
            self.stats.connections += 1
            self._on_connection(connection)
            context = connection.video.codec_context
            asked = self._settings.hardware is not None
            where = ", decoded on the CPU" if asked and not context.is_hwaccel else ""
            self._on_event(f"connected: {context.name} {context.width}x{context.height}{where}")
        if self.stats.state == State.STALLED:
            self._on_resumed()
        self.stats.state = State.RUNNING

    def _take_reports(self, child: Child, base: Counter[str]) -> None:
        for report in child.reports():
            if "counts" in report:
                standing = self.stats.counts["standing"]
                self.stats.counts = base + Counter(report["counts"])
                if self.stats.counts["standing"] > standing:
                    self._on_event("its times stand still: from now on those of arrival count")
            if "left_out" in report:
                self._on_event(f"left out: {report['left_out']}")

    def _last_words(self, child: Child) -> Fault:
        words = child.last_words()
        if "crash" in words:
            self._on_event(f"{words['crash']} in the process that reads")
        return Fault(words.get("fault", Fault.DIED))

    def _patient(self, quiet_seconds: float) -> bool:
        """Whether to wait on, after so much silence."""
        if self._cancellation.cancelled:
            return False
        patience_seconds = self._settings.patience_seconds
        if self.stats.state == State.CONNECTING:
            return quiet_seconds < max(OPEN_SECONDS + _START_SECONDS, patience_seconds)
        if quiet_seconds > self._settings.stall_seconds:
            self.stats.state = State.STALLED
        return quiet_seconds < patience_seconds

    def _give_up(self, fault: Fault) -> None:
        """Stop where waiting is of no use, or has lasted long enough."""
        settings, shown = self._settings, self._settings.address.shown
        first = self.stats.connections == 0
        if first and fault in HOPELESS and not settings.persist:
            raise InputError(f"{shown}: {fault}: correct it, or add --persist to go on trying")
        if settings.finite:
            raise InputError(f"{shown}: {fault}")
        if settings.retries is not None and self._backoff.failures > settings.retries:
            raise InputError(
                f"{shown}: {fault}: given up after {self._backoff.failures} failures in a row"
            )

    def _check(self) -> None:
        if self._cancellation.cancelled:
            raise Cancelled


@contextmanager
def _farewell(child: Child) -> Iterator[Child]:
    try:
        yield child
    finally:
        child.close(_FAREWELL_SECONDS)
