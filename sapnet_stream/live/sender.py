"""The process that sends a stream: packets from a pipe of NUT to an address or into files.

Run by `Child`, never by hand. It reports `{"left_out": text}` for a stream that the output
cannot hold, `{"open": name}` for each file or connection that is open, `{"kept": count}` of the
packets that are known to have got there, and `{"fault": text}` at its end.
"""

import errno
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any

import av
import av.container
from av.stream import Stream

from sapnet_stream.live.child import Reports, attend
from sapnet_stream.live.fault import Fault, fault_of
from sapnet_stream.live.output import Keep, free_path, prune, timed_path
from sapnet_stream.live.template import FLUSH_PACKETS, NO_PROBE

_PACKED_SAMPLES, _PLAIN_SAMPLES = ("pcm_alaw", "pcm_mulaw"), "pcm_s16le"
# Of sound that waits for its picture: ten seconds, in packets of 20 ms.
_MOST_WAITING = 500
# More than a cluster may last, and a packet may wait for one of the other stream.
_MARK_SECONDS = Fraction(3, 2)
# There must be room for so much where a file begins.
_LEAST_BYTES = 1 << 16
# MPEG-TS takes any codec, and marks those it does not know as data.
_TS_SOUND = ("aac", "mp2", "mp3", "ac3", "eac3", "opus", "dts")


class Sender:
    """Copies all packets.

    Args:
        settings: url and host or path, format, options, segment_seconds and keep, see `Session`.
        reports: where is told what is open.
    """

    def __init__(self, settings: dict[str, Any], reports: Reports) -> None:
        self._settings = settings
        self._reports = reports
        self._path = None if settings["path"] is None else Path(settings["path"])
        self._keep = Keep(**settings["keep"])
        self._target: av.container.OutputContainer | None = None
        self._copies: dict[int, Stream] = {}
        self._begin = Fraction(0)
        # Of packets: all, those before the last mark, and before the one before.
        self._taken = self._flushed = self._kept = 0
        self._marked = Fraction(-(10**9))
        self._file: _File | None = None

    def run(self, pipe: FileIO) -> Fault:
        """Copy until the pipe ends; returns how it went."""
        with av.open(pipe, "r", format="nut", options=NO_PROBE) as source:
            try:
                return self._copy_all(source)
            except OSError as error:
                disk = self._path is not None or self._settings["format"] == "hls"
                full = disk or error.errno == errno.ENOSPC
                return Fault.FULL if full else fault_of(error, self._settings["options"])
            except (av.error.FFmpegError, ValueError) as error:
                return fault_of(error, self._settings["options"])
            finally:
                if self._file is not None:
                    self._file.discard_empty()

    def _copy_all(self, source: av.container.InputContainer) -> Fault:
        packets = self._whole(source)
        if self._settings["segment_seconds"] is not None:
            packets = _in_order(packets)
        for packet in packets:
            begins = packet.stream.type == "video" and packet.is_keyframe
            if begins and self._gone:
                break
            self._send(packet, source.streams, begins=begins)
            if begins:
                self._mark(packet.pts * Fraction(packet.time_base))
            self._taken += 1
        gone = self._gone
        self._close()
        if gone:
            return Fault.GONE
        self._prune()
        self._reports.write(kept=self._taken)
        return Fault.ENDED

    def _mark(self, now: Fraction) -> None:
        """Tell what was written, where a picture to begin with was.

        The last packets may still wait for those of the other stream, or in a cluster.
        """
        if now - self._marked < _MARK_SECONDS:
            return
        self._marked, self._kept, self._flushed = now, self._flushed, self._taken
        self._reports.write(kept=self._kept)

    @property
    def _gone(self) -> bool:
        return self._file is not None and self._file.gone

    def _whole(self, source: av.container.InputContainer) -> Iterator[Any]:
        """The packets, until the end or where the other side died within one."""
        try:
            yield from (packet for packet in source.demux() if packet.size)
        except av.error.InvalidDataError:
            return

    def _send(self, packet: Any, streams: Any, *, begins: bool) -> None:
        # NUT stores but one time, and no picture is sent out of order.
        packet.dts = packet.pts
        unit = Fraction(packet.time_base)
        time_of = packet.pts * unit
        segment_seconds = self._settings["segment_seconds"]
        if begins and segment_seconds is not None and time_of - self._begin >= segment_seconds:
            self._close()
        if self._target is None:
            if not begins:
                return
            self._open(streams, time_of)
        copy = self._copies.get(packet.stream.index)
        if copy is None or (self._path is not None and time_of < self._begin):
            return
        if self._path is not None:
            # A file begins at zero.
            packet.pts -= round(self._begin / unit)
            packet.dts = packet.pts
        plain = copy.codec_context.name == _PLAIN_SAMPLES != packet.stream.codec_context.name
        if plain:
            packet = _plain(packet)
        packet.stream = copy
        assert self._target is not None
        self._target.mux_one(packet)

    def _open(self, streams: Any, begin: Fraction) -> None:
        if self._settings["host"]:
            # FFmpeg does not tell an unknown host from other failures.
            socket.getaddrinfo(self._settings["host"], None)
        # Where the disk is full, this may make room.
        self._prune()
        name = self._name()
        self._file = None if name is None else _File(name)
        self._open_target(streams)
        self._begin = begin
        self._reports.write(open=str(name or ""))

    def _open_target(self, streams: Any) -> None:
        settings = self._settings
        self._target = av.open(
            self._file or settings["url"],
            "w",
            format=settings["format"],
            options=settings["options"],
        )
        # What somebody watches goes on at once, and a full disk is found out.
        self._target.flags |= FLUSH_PACKETS
        self._copies = {}
        for stream in streams:
            copy = self._copy(stream, self._target)
            if copy is None:
                self._reports.write(left_out=f"{stream.type} in {stream.codec_context.name}")
            else:
                self._copies[stream.index] = copy
        self._target.start_encoding()

    def _copy(self, stream: Any, target: av.container.OutputContainer) -> Stream | None:
        """The target's stream for one of the source's, None where it cannot hold that."""
        codec = stream.codec_context.name
        strange = stream.type == "audio" and codec not in _TS_SOUND
        if strange and self._settings["format"] in ("mpegts", "hls"):
            return None
        try:
            same: Stream = target.add_stream_from_template(stream, opaque=True)
            return same
        except ValueError:
            if codec not in _PACKED_SAMPLES:
                return None
        # The sound of many cameras, G.711, which Matroska knows as plain samples only.
        try:
            plain = target.add_stream(_PLAIN_SAMPLES, rate=stream.codec_context.sample_rate)
        except ValueError:
            return None
        assert isinstance(plain, av.AudioStream)
        plain.codec_context.layout = stream.codec_context.layout
        return plain

    def _name(self) -> Path | None:
        """Of the next file, for outputs that are files."""
        if self._path is None:
            return None
        if self._settings["segment_seconds"] is None:
            return free_path(self._path)
        return timed_path(self._path, datetime.now(UTC))

    def _close(self) -> None:
        if self._target is not None:
            self._target.close()
        if self._file is not None:
            self._file.close()
        self._target = self._file = None

    def _prune(self) -> None:
        if self._path is not None and self._settings["segment_seconds"] is not None:
            prune(self._path, self._keep, time.time())


def _in_order(packets: Iterator[Any]) -> Iterator[Any]:
    """Packets by their times: sound is ahead of its picture, which was derained meanwhile.

    Without this, a file that ends before a picture would hold the sound that goes with it.
    """
    waiting: deque[Any] = deque()
    for packet in packets:
        if packet.stream.type == "audio":
            waiting.append(packet)
            if len(waiting) > _MOST_WAITING:
                yield waiting.popleft()
            continue
        now = packet.pts * packet.time_base
        while waiting and waiting[0].pts * waiting[0].time_base < now:
            yield waiting.popleft()
        yield packet
    yield from waiting


class _File(FileIO):
    """A new file, all errors of which are raised: FFmpeg keeps some of its own files' for itself.

    Args:
        path: of it.

    Raises:
        OSError: it cannot be made, or there is no room for its beginning.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "xb+")
        self._path = path
        # Some file systems count no names.
        self._named = os.fstat(self.fileno()).st_nlink > 0
        try:
            self.write(bytes(_LEAST_BYTES))
            self.seek(0)
            self.truncate()
        except OSError:
            path.unlink(missing_ok=True)
            raise

    def write(self, data: Any) -> int:
        """All of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]
        return len(data)

    @property
    def gone(self) -> bool:
        """Whether it is no longer found under its name, or under any."""
        try:
            os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        return self._named and os.fstat(self.fileno()).st_nlink == 0

    def discard_empty(self) -> None:
        """Delete it where nothing has got into it: each attempt would leave another."""
        if os.fstat(self.fileno()).st_size == 0:
            self._path.unlink(missing_ok=True)


def _plain(packet: Any) -> Any:
    """A packet of packed samples as one of samples of 16 bits."""
    data = b"".join(frame.to_ndarray().tobytes() for frame in packet.decode())
    plain = av.Packet(data)
    plain.pts = plain.dts = packet.pts
    plain.duration, plain.time_base = packet.duration, packet.time_base
    return plain


if __name__ == "__main__":
    attend(lambda given, pipe, reports: Sender(given, reports).run(pipe), sys.argv[1:], "rb")
