"""The process that reads a stream: packets from an address into a pipe of NUT.

Run by `Child`, never by hand. It reports `{"left_out": text}` for a stream that is not passed
on, `{"counts": {...}}` about once a second, and `{"fault": text}` at its end.
"""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from io import FileIO
from typing import Any

import av
import av.container
from av.stream import Stream

from sapnet_stream.live.child import Reports, attend
from sapnet_stream.live.clock import SourceClock
from sapnet_stream.live.fault import Fault, fault_of
from sapnet_stream.live.template import FLUSH_PACKETS, ONWARD
from sapnet_stream.video.container import is_cover

# FFmpeg looks at so much of a stream to find its size and codec; not at its rate, which takes
# a second.
_PROBE = {"fpsprobesize": "0", "analyzeduration": "2000000"}
_COUNTS_SECONDS = 1.0


class Receiver:
    """Copies the first video stream and the first of sound.

    Args:
        settings: url, host, format, options, open_seconds, read_seconds, pace, origin_seconds
            and floor_seconds, see `Source`.
        pipe: where the packets go.
        reports: where the rest is told.
    """

    def __init__(self, settings: dict[str, Any], pipe: FileIO, reports: Reports) -> None:
        self._settings = settings
        self._pipe = pipe
        self._reports = reports
        self._clock = SourceClock(settings["origin_seconds"], settings["floor_seconds"])
        self._corrupt = 0
        self._reported_seconds = 0.0
        self._began: tuple[float, Fraction] | None = None

    def run(self) -> Fault:
        """Copy until the stream ends, or nobody reads on; returns why."""
        began = time.monotonic()
        try:
            source = self._open()
        except (av.error.FFmpegError, socket.gaierror, ValueError) as error:
            most = self._settings["open_seconds"]
            late = most is not None and time.monotonic() - began >= most
            return Fault.SILENT if late else fault_of(error, self._settings["options"])
        # Closing tells the camera, which may have room for one reader only.
        with closing(source):
            return self._pass_on(source)

    def _pass_on(self, source: av.container.InputContainer) -> Fault:
        options = {**ONWARD, "max_interleave_delta": "1"}
        target = av.open(self._pipe, "w", format="nut", options=options)
        # Each packet goes on at once.
        target.flags |= FLUSH_PACKETS
        if any(not video.codec_context.width for video in source.streams.video):
            # The next attempt may meet one.
            return Fault.EMPTY
        copies = self._copies(source, target)
        if not any(copy.type == "video" for copy in copies.values()):
            return Fault.VIDEO
        try:
            # Closing passes on what waits for a packet of the other stream.
            with closing(target):
                self._copy(source, copies, target)
        except av.error.FFmpegError as error:
            return fault_of(error, self._settings["options"])
        except BrokenPipeError:
            # Nobody reads on.
            return Fault.ENDED
        finally:
            self._count(time.monotonic())
        return Fault.ENDED

    def _open(self) -> av.container.InputContainer:
        settings = self._settings
        if settings["host"]:
            # FFmpeg does not tell an unknown host from other failures.
            socket.getaddrinfo(settings["host"], None)
        container: av.container.InputContainer = av.open(
            settings["url"],
            format=settings["format"],
            options={**_PROBE, **settings["options"]},
            timeout=(settings["open_seconds"], settings["read_seconds"]),
            buffer_size=1 << 16,
        )
        return container

    def _copies(
        self, source: av.container.InputContainer, target: av.container.OutputContainer
    ) -> dict[int, Stream]:
        """The target's streams by the numbers of the source's that they are copies of."""
        copies: dict[int, Stream] = {}
        kinds: set[str] = set()
        for stream in source.streams:
            kind = stream.type
            fit = kind in ("video", "audio") and not is_cover(stream)
            if not fit or kind in kinds or stream.codec_context is None:
                continue
            try:
                copies[stream.index] = target.add_stream_from_template(stream, opaque=True)
                kinds.add(kind)
            except ValueError:
                name = stream.codec_context.name
                self._reports.write(left_out=f"{kind} in {name}, which cannot be passed on")
        return copies

    def _copy(
        self,
        source: av.container.InputContainer,
        copies: dict[int, Stream],
        target: av.container.OutputContainer,
    ) -> None:
        for packet in self._readable(source):
            copy = copies.get(packet.stream.index)
            if copy is None or not packet.size:
                continue
            unit = Fraction(packet.time_base or Fraction(1, 90_000))
            if self._settings["pace"]:
                self._wait_for(packet.dts, unit)
            now = time.monotonic()
            self._corrupt += packet.is_corrupt
            packet.dts, packet.pts = self._clock.place(
                copy.index, packet.dts, packet.pts, unit, now
            )
            packet.stream = copy
            target.mux_one(packet)
            if now - self._reported_seconds > _COUNTS_SECONDS:
                self._count(now)

    def _readable(self, source: av.container.InputContainer) -> Iterator[Any]:
        stuck = False
        while True:
            try:
                for packet in source.demux():
                    stuck = False
                    yield packet
                return
            except av.error.InvalidDataError:
                # What follows may be intact.
                self._corrupt += 1
                if stuck:
                    raise
                stuck = True

    def _wait_for(self, dts: int | None, unit: Fraction) -> None:
        """A file at its own pace."""
        if dts is None:
            return
        if self._began is None:
            self._began = time.monotonic(), dts * unit
        begin_seconds, first = self._began
        time.sleep(max(0.0, begin_seconds + float(dts * unit - first) - time.monotonic()))

    def _count(self, now: float) -> None:
        self._reported_seconds = now
        counts = {
            "corrupt": self._corrupt,
            "retimed": self._clock.retimed,
            "jumps": self._clock.jumps,
            "standing": self._clock.standing,
        }
        self._reports.write(counts=counts)


if __name__ == "__main__":
    attend(lambda *given: Receiver(*given).run(), sys.argv[1:], "wb")
