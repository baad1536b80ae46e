"""Packets of a live stream into frames, whatever is broken or missing among them."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av

from sapnet_stream.live.connection import Connection, LivePacket
from sapnet_stream.video.decode import frame_from
from sapnet_stream.video.frame import Frame, planar_name
from sapnet_stream.video.info import VideoInfo, video_info

# All connections count in the unit of RTP's video clock.
TIME_BASE = Fraction(1, 90_000)
_USUAL_RATE, _MOST_RATE = Fraction(25), 300
# Frames wait in a decoder for those that are shown before them.
_REORDERED = 64


@dataclass(frozen=True)
class LiveFrame:
    """A frame on its way from the camera.

    Attributes:
        frame: with its time on the output's clock, in units of `TIME_BASE`.
        info: of its picture.
        connection: number of the connection it came through.
        arrival_seconds: of its packet, on this machine's monotonic clock.
    """

    frame: Frame
    info: VideoInfo
    connection: int
    arrival_seconds: float


class LiveDecoder:
    """Decodes what arrives.

    Attributes:
        decoded: frames so far.
        corrupt: packets and frames that the decoder found broken.
        skipped: packets left out because others before them are missing.
        retimed: frames moved behind the one before.
    """

    def __init__(self) -> None:
        self.decoded = self.corrupt = self.skipped = self.retimed = 0
        self._last_pts = -1
        self._info: VideoInfo | None = None
        self._arrivals: dict[int, float] = {}

    def frames(self, packets: Iterator[LivePacket]) -> Generator[LiveFrame, None, None]:
        """The frames of all connections, in the order they are shown."""
        connection: Connection | None = None
        number, whole = 0, False
        try:
            for item in packets:
                if item.connection is not connection:
                    if connection is not None:
                        yield from self._rest(connection)
                    connection, whole = self._begin(item.connection), False
                elif item.number != number + 1:
                    # This decoder is too slow: without what was dropped, the rest is mud.
                    whole = False
                number = item.number
                whole = whole or item.packet.is_keyframe
                if whole:
                    yield from self._decoded(item)
                else:
                    self.skipped += 1
            if connection is not None:
                yield from self._rest(connection)
                connection = None
        finally:
            if connection is not None:
                connection.release()

    def _begin(self, connection: Connection) -> Connection:
        # Threads over frames would hold as many frames back.
        connection.video.thread_type = "SLICE"
        self._info = None
        self._arrivals.clear()
        return connection

    def _decoded(self, item: LivePacket) -> Iterator[LiveFrame]:
        if item.packet.pts is not None:
            self._arrivals[item.packet.pts] = item.arrival_seconds
        if len(self._arrivals) > _REORDERED:
            del self._arrivals[next(iter(self._arrivals))]
        try:
            pictures = item.packet.decode()
        except av.error.FFmpegError:
            self.corrupt += 1
            return
        for picture in pictures:
            yield self._live(picture, item.connection, item.arrival_seconds)

    def _rest(self, connection: Connection) -> Iterator[LiveFrame]:
        """What the decoder still holds at the end of a connection."""
        try:
            pictures = connection.video.codec_context.decode(None)
        except av.error.FFmpegError:
            self.corrupt += 1
            pictures = []
        latest = max(self._arrivals.values(), default=time.monotonic())
        for picture in pictures:
            yield self._live(picture, connection, latest)
        connection.release()

    def _live(self, picture: av.VideoFrame, connection: Connection, arrival: float) -> LiveFrame:
        self.decoded += 1
        self.corrupt += picture.is_corrupt
        arrival = self._arrivals.pop(picture.pts or 0, arrival)
        info = self._info_of(picture, connection)
        unit = Fraction(connection.video.time_base or TIME_BASE)
        if picture.pts is None:
            picture.pts = int((self._last_pts + 1) * TIME_BASE / unit)
        picture.time_base = unit
        frame = frame_from(picture, info, TIME_BASE)
        if frame.pts <= self._last_pts:
            self.retimed += 1
            frame = replace(frame, pts=self._last_pts + 1)
        self._last_pts = frame.pts
        return LiveFrame(frame, info, connection.number, arrival)

    def _info_of(self, picture: av.VideoFrame, connection: Connection) -> VideoInfo:
        """What an encoder must know, again where size or format change within a connection."""
        name = planar_name(picture.format.name)
        shape = (picture.width, picture.height, name)
        info = self._info
        if info is None or shape != (info.width, info.height, info.layout.name):
            info = video_info(picture, connection.video, None)
            # Without a look ahead, FFmpeg takes the unit of time for the rate of some streams.
            rate = info.rate if 1 <= info.rate <= _MOST_RATE else _USUAL_RATE
            # And whether it knows that samples are square depends on how far it looked.
            ratio = info.sample_aspect_ratio or Fraction(1)
            info = replace(info, time_base=TIME_BASE, rate=rate, sample_aspect_ratio=ratio)
            self._info = info
        return info
