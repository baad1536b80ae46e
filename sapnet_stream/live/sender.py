"""The process that sends a stream: packets from a pipe of NUT to an address or into files.

Run by `Child`, never by hand. It reports `{"left_out": text}` for a stream that the output
cannot hold, `{"open": name}` for each file or connection that is open, and `{"fault": text}`
at its end.
"""

import errno
import socket
import sys
import time
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
from sapnet_stream.live.template import NO_PROBE

# MPEG-TS takes any codec, and marks those it does not know as data.
_TS_SOUND = ("aac", "mp2", "mp3", "ac3", "eac3", "opus", "dts")


class Sender:
    """Copies all packets.

    Args:
        settings: url and host or path, format, options, flags, segment_seconds and keep, see
            `Session`.
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

    def run(self, pipe: FileIO) -> Fault:
        """Copy until the pipe ends; returns how it went."""
        with av.open(pipe, "r", format="nut", options=NO_PROBE) as source:
            try:
                for packet in self._whole(source):
                    self._send(packet, source.streams)
                self._close()
            except OSError as error:
                full = self._path is not None or error.errno == errno.ENOSPC
                return Fault.FULL if full else fault_of(error)
            except (av.error.FFmpegError, ValueError) as error:
                return fault_of(error)
        return Fault.ENDED

    def _whole(self, source: av.container.InputContainer) -> Iterator[Any]:
        """The packets, until the end or where the other side died within one."""
        try:
            yield from (packet for packet in source.demux() if packet.size)
        except av.error.InvalidDataError:
            return

    def _send(self, packet: Any, streams: Any) -> None:
        # NUT stores but one time, and no picture is sent out of order.
        packet.dts = packet.pts
        time_of = packet.pts * packet.time_base
        begins = packet.stream.type == "video" and packet.is_keyframe
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
            packet.pts -= round(self._begin / packet.time_base)
            packet.dts = packet.pts
        packet.stream = copy
        assert self._target is not None
        self._target.mux_one(packet)

    def _open(self, streams: Any, begin: Fraction) -> None:
        settings = self._settings
        name = self._name()
        url = settings["url"] if name is None else f"file:{name}"
        if settings["host"]:
            # FFmpeg does not tell an unknown host from other failures.
            socket.getaddrinfo(settings["host"], None)
        self._target = av.open(url, "w", format=settings["format"], options=settings["options"])
        self._target.flags |= settings["flags"]
        self._copies = {}
        for stream in streams:
            codec = stream.codec_context.name
            strange = stream.type == "audio" and codec not in _TS_SOUND
            try:
                if strange and settings["format"] in ("mpegts", "hls"):
                    raise ValueError(codec)
                copy = self._target.add_stream_from_template(stream, opaque=True)
            except ValueError:
                self._reports.write(left_out=f"{stream.type} in {codec}")
                continue
            self._copies[stream.index] = copy
        self._target.start_encoding()
        self._begin = begin
        self._reports.write(open=str(name or ""))

    def _name(self) -> Path | None:
        """Of the next file, for outputs that are files."""
        if self._path is None:
            return None
        if self._settings["segment_seconds"] is None:
            return free_path(self._path)
        return timed_path(self._path, datetime.now(UTC))

    def _close(self) -> None:
        if self._target is None:
            return
        self._target.close()
        self._target = None
        if self._path is not None and self._settings["segment_seconds"] is not None:
            prune(self._path, self._keep, time.time())


def send(settings: dict[str, Any], pipe: FileIO, reports: Reports) -> Fault:
    """Copy until the pipe ends."""
    return Sender(settings, reports).run(pipe)


if __name__ == "__main__":
    attend(send, sys.argv[1:], "rb")
