"""Packets of a live stream into frames, whatever is broken or missing among them."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
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
# Frames wait in a decoder for those that are shown before them, and near the beginning, where
# times are moved, a few come out of it in another order.
_REORDERED, _MOVED = 64, 4
# A decoder that does not catch up in so long begins anew with the next whole picture.
CATCH_UP_SECONDS = 1.0


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


@dataclass(frozen=True)
class _Waiting:
    """A packet whose picture has not come out; `late`: the decoder may leave it out."""

    arrival_seconds: float
    late: bool


class LiveDecoder:
    """Decodes what arrives, and leaves out what is too old to be shown.

    A packet that is too old is not decoded if a whole picture has come after it, or if no other
    builds upon it. The rest are decoded, for later ones build upon them, and not shown.

    Args:
        expired: whether what arrived at a time is too old now.
        newest_key: number of the last packet read that needs none before it.

    Attributes:
        decoded: frames that were passed on.
        corrupt: packets and frames that the decoder found broken.
        skipped: packets left out because others before them are missing.
        damaged: packets that the decoder made no picture of.
        late: packets and frames left out because they are too old.
        retimed: frames moved behind the one before.
    """

    def __init__(
        self,
        expired: Callable[[float], bool] = lambda _: False,
        newest_key: Callable[[], int] = lambda: 0,
    ) -> None:
        self.decoded = self.corrupt = self.skipped = self.late = self.retimed = 0
        self.damaged = 0
        self._expired = expired
        self._newest_key = newest_key
        self._late_since: float | None = None
        # What the next packet builds upon was decoded.
        self._whole = False
        self._last_pts = -1
        self._info: VideoInfo | None = None
        self._waiting: dict[int, _Waiting] = {}
        # Times of the last pictures that came out.
        self._out: deque[int] = deque(maxlen=_MOVED)

    @property
    def came(self) -> int:
        """Packets and frames whose fate is known, each counted once."""
        return self.decoded + self.skipped + self.damaged + self.late

    def frames(self, packets: Iterator[LivePacket]) -> Generator[LiveFrame, None, None]:
        """The frames of all connections, in the order they are shown."""
        connection: Connection | None = None
        number = 0
        for item in packets:
            if item.connection is not connection:
                if connection is not None:
                    yield from self._rest(connection)
                connection = self._begin(item.connection)
            elif item.number != number + 1:
                # This decoder is too slow: without what was dropped, the rest is mud.
                self._whole = False
            number = item.number
            late = self._expired(item.arrival_seconds)
            if self._wanted(item, late):
                yield from self._decoded(item, late)
        if connection is not None:
            yield from self._rest(connection)

    def _begin(self, connection: Connection) -> Connection:
        # Threads over frames would hold as many frames back.
        connection.video.thread_type = "SLICE"
        self._info = None
        self._whole = False
        self._waiting.clear()
        self._out.clear()
        return connection

    def _wanted(self, item: LivePacket, late: bool) -> bool:
        """Whether to decode a packet."""
        now = time.monotonic()
        if not late:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now
        if late and item.number < self._newest_key():
            self._whole = False
            self.late += 1
            return False
        if item.packet.is_keyframe:
            self._whole = True
        elif self._late_since is not None and now - self._late_since > CATCH_UP_SECONDS:
            self._whole, self._late_since = False, None
        self.skipped += not self._whole
        return self._whole

    def _decoded(self, item: LivePacket, late: bool) -> Iterator[LiveFrame]:
        if item.packet.pts is not None:
            self._waiting[item.packet.pts] = _Waiting(item.arrival_seconds, late)
        if len(self._waiting) > _REORDERED:
            self._leave_out(next(iter(self._waiting)))
        item.connection.video.codec_context.skip_frame = "NONREF" if late else "DEFAULT"
        try:
            pictures = item.packet.decode()
        except av.error.FFmpegError:
            self.corrupt += 1
            return
        for picture in pictures:
            arrival = self._arrival(picture, item.arrival_seconds)
            if self._expired(arrival):
                self.late += 1
            else:
                yield self._live(picture, item.connection, arrival)

    def _rest(self, connection: Connection) -> Iterator[LiveFrame]:
        """What the decoder still holds at the end of a connection."""
        try:
            pictures = connection.video.codec_context.decode(None)
        except av.error.FFmpegError:
            self.corrupt += 1
            pictures = []
        arrivals = [each.arrival_seconds for each in self._waiting.values()]
        latest = max(arrivals, default=time.monotonic())
        for picture in pictures:
            yield self._live(picture, connection, self._arrival(picture, latest))
        for pts in list(self._waiting):
            self._leave_out(pts)

    def _arrival(self, picture: av.VideoFrame, latest: float) -> float:
        """When the packet of a picture arrived; `latest` where that is not known."""
        pts = picture.pts or 0
        known = self._waiting.pop(pts, None)
        self._out.append(pts)
        # Pictures come out in the order they are shown: these were left out.
        for each in [each for each in self._waiting if each < min(self._out)]:
            self._leave_out(each, field=picture.interlaced_frame)
        return latest if known is None else known.arrival_seconds

    def _leave_out(self, pts: int, *, field: bool = False) -> None:
        """A packet became no picture; a `field` may have become a part of another packet's."""
        late = self._waiting.pop(pts).late
        self.late += late
        self.damaged += not (late or field)

    def _live(self, picture: av.VideoFrame, connection: Connection, arrival: float) -> LiveFrame:
        self.decoded += 1
        self.corrupt += picture.is_corrupt
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
