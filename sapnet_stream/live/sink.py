"""One output of a live stream: whatever becomes of it, the others do not notice."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from sapnet_stream.errors import OutputError
from sapnet_stream.flow import Cancellation
from sapnet_stream.live.backoff import Backoff
from sapnet_stream.live.fault import HOPELESS, Fault
from sapnet_stream.live.output import Output
from sapnet_stream.live.program import VIDEO, Unit
from sapnet_stream.live.session import Session

# About four seconds of picture and sound, for disks that pause, and one for who watches.
FILE_UNITS, STREAM_UNITS = 300, 75


class SinkState(StrEnum):
    """What an output is doing."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    RUNNING = "running"
    BACKING_OFF = "backing-off"
    ENDED = "ended"
    STUCK = "stuck"


class Sink:
    """Sends units to one output, and connects again when that is lost.

    Args:
        output: where to.
        cancellation: ends every wait.
        on_event: told in one sentence what changes.
        cap_seconds: the longest wait between two attempts.
        persist: go on where the first attempt finds a mistake that waiting does not mend.

    Attributes:
        output: where to.
        state: what it is doing.
        sent: units so far that are known to have got there.
        skipped: units left out: dropped before, without the picture they build upon, or lost on
            their way.
        connections: files or connections so far.
    """

    def __init__(
        self,
        output: Output,
        cancellation: Cancellation,
        on_event: Callable[[str], None],
        *,
        cap_seconds: float,
        persist: bool,
    ) -> None:
        self.output = output
        self.state = SinkState.WAITING
        self.sent = self.skipped = self.connections = 0
        self._cancellation = cancellation
        self._on_event = on_event
        self._persist = persist
        self._backoff = Backoff(cap_seconds)
        self._next_seconds = 0.0
        self._attempts = 0
        self._session: Session | None = None
        # Units of this session, and of them those that are known to have got there.
        self._given = self._kept = 0
        self._left_out: set[str] = set()

    @property
    def capacity(self) -> int:
        """Units that may wait for it."""
        return FILE_UNITS if self.output.is_file else STREAM_UNITS

    def work(self, units: Iterator[Unit]) -> Generator[None, None, None]:
        """Send all units; the sink of a pipeline.

        Raises:
            OutputError: a mistake at the first connection.
        """
        last = 0
        try:
            for unit in units:
                if self._session is not None and unit.number != last + 1:
                    self._session.whole = False
                last = unit.number
                self._send(unit)
                yield
        finally:
            self._finish(last=True)
            self.state = SinkState.ENDED

    def _send(self, unit: Unit) -> None:
        """Send a unit, if that is possible now."""
        if self._session is not None and self._session.description != unit.description:
            self._finish()
        begins = unit.stream == VIDEO and unit.keyframe
        if self._session is None and begins and time.monotonic() >= self._next_seconds:
            self._begin(unit.description)
        session = self._session
        if session is None or not session.takes(unit):
            self.skipped += 1
            return
        self._given += 1
        if session.write(unit):
            for report in session.reports():
                self._take(report)
        else:
            self._end(session, session.fault())

    def _begin(self, description: bytes) -> None:
        self.state = SinkState.CONNECTING
        self._attempts += 1
        self._given = self._kept = 0
        if self._attempts > 1:
            self._restore_folder()
        try:
            self._session = Session(self.output, description, self._cancellation)
        except OSError:
            # Too many processes or open files.
            self._failed(Fault.DIED, 0.0, f"{self.output.address.shown}: {Fault.DIED}")

    def _restore_folder(self) -> None:
        """Make the folder again that was there at first; where that fails, so does what follows."""
        address = self.output.address
        if address.scheme in ("file", "hls"):
            with suppress(OSError):
                Path(address.path).parent.mkdir(exist_ok=True)

    def _finish(self, *, last: bool = False) -> None:
        if self._session is not None:
            self._end(self._session, self._session.finish(), last=last)

    def _take(self, report: dict[str, Any]) -> None:
        shown = self.output.address.shown
        if "open" in report:
            self.connections += 1
            self.state = SinkState.RUNNING
            self._on_event(f"sending to {report['open'] or shown}")
        if "kept" in report:
            self._take_kept(report["kept"])
        if "left_out" in report and report["left_out"] not in self._left_out:
            self._left_out.add(report["left_out"])
            self._on_event(f"left out of {shown}, which cannot hold it: {report['left_out']}")

    def _end(self, session: Session, fault: Fault, *, last: bool = False) -> None:
        """A session is over, and its process too."""
        self._session = None
        for report in session.reports():
            self._take(report)
        shown = self.output.address.shown
        # Its last words may have been read by who asked for the fault.
        words = session.words
        if "crash" in words:
            self._on_event(f"{words['crash']} in the process that writes {shown}")
        self._take_kept(words.get("kept", 0))
        lost = self._given - self._kept
        self.skipped += lost
        held_seconds = session.held_seconds
        session.close()
        if fault == Fault.ENDED:
            return
        what = f"{shown}: {fault}" + (f"; up to {lost} packets are lost" if lost else "")
        if self._cancellation.cancelled:
            self._on_event(what)
        else:
            self._failed(fault, held_seconds, what, last=last)

    def _failed(self, fault: Fault, held_seconds: float, what: str, *, last: bool = False) -> None:
        """Wait before the next session, unless this was the last."""
        # A server that is starting says much that it takes back later.
        first = self._attempts == 1 and self.connections == 0
        if first and not self._persist and (fault in HOPELESS or fault == Fault.FULL):
            shown = self.output.address.shown
            raise OutputError(f"{shown}: {fault}: correct it, or add --persist to go on trying")
        if last:
            self._on_event(what)
            return
        delay = self._backoff.failed(held_seconds)
        self._next_seconds = time.monotonic() + delay
        self.state = SinkState.BACKING_OFF
        self._on_event(f"{what}; the next attempt is in {delay:.1f} s")

    def _take_kept(self, count: int) -> None:
        """So many units of this session are known to have got there."""
        self.sent += count - self._kept
        self._kept = count
