"""Frames of a video file, and the packets of its other streams, in file order."""

import math
from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import av
from av.stream import Discard

from sapnet_stream.errors import InputError, UsageError
from sapnet_stream.video.container import find_video, open_input
from sapnet_stream.video.frame import Frame, planar_name
from sapnet_stream.video.info import DEFAULT_TIME_BASE, average_rate, video_info
from sapnet_stream.video.picture import read_planes

# Demuxers seek by decoding time, or by guess, and may land behind the frame asked for: then
# from further back, at last (None) from the beginning of the file.
SEEK_MARGINS_SECONDS = (1, 10, None)
MICROSECOND = Fraction(1, 1_000_000)

if TYPE_CHECKING:
    Packet: TypeAlias = av.Packet[Any]
else:
    Packet = av.Packet


class VideoDecoder:
    """Iterates over a file: `Frame`s of its first real video stream, `av.Packet`s of others.

    Args:
        path: a local file; lists of files and network addresses are refused.
        start_seconds: frames before this time, counted from the file's beginning, are left out.
        duration_seconds: and those this much later or more.

    Attributes:
        info: of the video stream, known after the first frame was decoded.
        copied: the other streams, whose packets are handed out untouched.
        offset_seconds: subtract this from every time to let the output begin at zero; 0
            unless `start_seconds` was given.
        damaged: packets and frames the decoder reported as broken.
        retimed: frames whose time was missing or not after the previous one's.

    Raises:
        InputError: the file is missing, unreadable, or has no video that can be decoded.
    """

    def __init__(
        self,
        path: Path,
        start_seconds: float | None = None,
        duration_seconds: float | None = None,
    ) -> None:
        if start_seconds is not None and not 0 <= start_seconds < math.inf:
            raise UsageError(f"--start must be 0 or more seconds, got {start_seconds:g}")
        if duration_seconds is not None and not 0 < duration_seconds < math.inf:
            raise UsageError(f"--duration must be more than 0 seconds, got {duration_seconds:g}")
        self.path = path
        for margin in SEEK_MARGINS_SECONDS if start_seconds else (None,):
            self._container = open_input(path)
            try:
                self._prepare(start_seconds or 0, duration_seconds)
                if (margin is None or self._seek(margin)) and self._read_info(margin is None):
                    return
            except BaseException:
                self._container.close()
                raise
            self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._events.close()
        self._container.close()

    @property
    def metadata(self) -> dict[str, str]:
        """The container's title, date and so on."""
        return dict(self._container.metadata)

    @property
    def video_metadata(self) -> dict[str, str]:
        """The video stream's language, title and so on."""
        return dict(self._stream.metadata)

    @property
    def chapters(self) -> list[Any]:
        """As PyAV gives them, cut and moved like the frames."""
        kept = []
        for chapter in self._container.chapters():
            unit = Fraction(chapter["time_base"] or MICROSECOND)
            begin, end = chapter["start"] * unit, chapter["end"] * unit
            begin = begin if self._begin is None else max(begin, self._begin)
            end = end if self._end is None else min(end, self._end)
            if begin < end:
                moved = (round((time - self.offset_seconds) / unit) for time in (begin, end))
                kept.append({**chapter, **dict(zip(("start", "end"), moved, strict=True))})
        return kept

    @property
    def missing(self) -> int:
        """Packets of video in the index of the file that it, read to its end, did not hold."""
        if self._begin is not None or self._end is not None:
            return 0
        return max(0, len(self._stream.index_entries) - self._demuxed)

    def __iter__(self) -> Generator[Frame | Packet, None, None]:
        return self.items()

    def items(self) -> Generator[Frame | Packet, None, None]:
        """Frames of the video and packets of the other streams, once."""
        while self._waiting:
            yield self._waiting.popleft()
        yield from self._events

    def _prepare(self, start_seconds: float, duration_seconds: float | None) -> None:
        self.damaged = self.retimed = self.decoded = self._demuxed = 0
        self._stream = find_video(self._container, self.path)
        # Threads over frames report a damaged packet late, and PyAV then drops intact frames.
        self._stream.thread_type = "SLICE"
        self.copied = [
            stream
            for stream in self._container.streams
            # The demuxer discards what it has read already: a track of chapters.
            if stream.index != self._stream.index and stream.discard != Discard.all
        ]
        self._time_base = Fraction(self._stream.time_base or DEFAULT_TIME_BASE)
        # AVI stores no presentation times, and those made up for it jump.
        self._timed = self._container.format.name != "avi"
        self._set_range(start_seconds, duration_seconds)
        self._reached_begin = False
        self._last_pts: int | None = None
        self._step: int | None = None
        self._waiting: deque[Frame | Packet] = deque()
        self._events = self._read()

    def _set_range(self, start_seconds: float, duration_seconds: float | None) -> None:
        first = (self._container.start_time or 0) * MICROSECOND
        begin = first + Fraction(start_seconds).limit_denominator(1_000_000)
        length = (self._container.duration or 0) * MICROSECOND
        if start_seconds and length and begin >= first + length:
            raise UsageError(
                f"--start {start_seconds:g} is beyond the end of {self.path} "
                f"({float(length):.3f} s)"
            )
        self.offset_seconds = begin if start_seconds else Fraction(0)
        self._begin = begin if start_seconds else None
        self._end = None
        if duration_seconds is not None:
            self._end = begin + Fraction(duration_seconds).limit_denominator(1_000_000)

    def _seek(self, margin_seconds: int) -> bool:
        """Go to a keyframe before the start, or say that this file has no way there."""
        time = int((self.offset_seconds - margin_seconds) / self._time_base)
        try:
            self._container.seek(time, stream=self._stream)
        except av.error.FFmpegError:
            return False
        return True

    def _read_info(self, from_beginning: bool) -> bool:
        """Decode up to the first frame, which knows what the header may leave open.

        Returns:
            False if frames between the start and this first one may have been passed over.
        """
        for event in self._events:
            self._waiting.append(event)
            if isinstance(event, Frame):
                self.info = self._info
                return from_beginning or self._reached_begin
        if not from_beginning:
            return False
        if self.decoded:
            raise UsageError(f"{self.path} has no frame between --start and the end of --duration")
        raise InputError(f"{self.path}: no frame of its video could be decoded")

    def _read(self) -> Generator[Frame | Packet, None, None]:
        open_ends = {s.index for s in self._container.streams if s.type in ("video", "audio")}
        for packet in self._packets():
            index = packet.stream.index
            if self._end is not None and index in open_ends and self._is_after(packet, self._end):
                open_ends.discard(index)
                if not open_ends:
                    break
            if index != self._stream.index:
                if packet.size and self._is_inside(packet.pts, packet.time_base):
                    yield packet
            elif index in open_ends:
                self._demuxed += 1
                yield from self._decode(packet)
        yield from self._decode(None)

    def _packets(self) -> Iterator[Packet]:
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.InvalidDataError:
                # The demuxer cannot find its way beyond this point.
                self.damaged += 1
                return
            if packet.size or packet.stream.index != self._stream.index:
                yield packet

    def _decode(self, packet: Packet | None) -> Iterator[Frame]:
        try:
            pictures = self._stream.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            # Decoders recover at the next intact picture.
            self.damaged += 1
            return
        for picture in pictures:
            if not self.decoded:
                self._info = video_info(picture, self._stream, self._count_frames())
            self.decoded += 1
            frame = self._frame_from(picture)
            if self._begin is None or frame.pts * frame.time_base <= self._begin:
                self._reached_begin = True
            if self._is_inside(frame.pts, frame.time_base):
                self.damaged += picture.is_corrupt
                yield frame

    def _is_inside(self, pts: int | None, time_base: Fraction | None) -> bool:
        if pts is None or time_base is None:
            return True
        time = pts * time_base
        after_begin = self._begin is None or time >= self._begin
        return after_begin and (self._end is None or time < self._end)

    def _is_after(self, packet: Packet, end: Fraction) -> bool:
        # Frames that are shown before the end may be decoded after it, never the other way.
        return packet.dts is not None and packet.dts * packet.time_base >= end

    def _count_frames(self) -> int | None:
        stream = self._stream
        if self._begin is self._end is None and stream.frames:
            return stream.frames
        if stream.duration:
            length = stream.duration * self._time_base
        elif self._container.duration:
            length = self._container.duration * MICROSECOND
        else:
            return None
        first = (self._container.start_time or 0) * MICROSECOND
        end = first + length if self._end is None else min(first + length, self._end)
        return max(1, round((end - (self._begin or first)) * average_rate(stream)))

    def _frame_from(self, picture: av.VideoFrame) -> Frame:
        info = self._info
        name = planar_name(picture.format.name)
        if (picture.width, picture.height, name) != (info.width, info.height, info.layout.name):
            raise InputError(
                f"{self.path}: at frame {self.decoded} the picture changes from "
                f"{info.width}x{info.height} {info.layout.name} to "
                f"{picture.width}x{picture.height} {name}: cut the file there"
            )
        return Frame(
            planes=read_planes(picture, info.layout),
            layout=info.layout,
            colour=info.colour,
            pts=self._monotonic(picture),
            time_base=self._time_base,
            duration=picture.duration or 0,
            keyframe=picture.key_frame,
        )

    def _monotonic(self, picture: av.VideoFrame) -> int:
        """The picture's own pts, or the next possible one if it has none or goes back."""
        pts = picture.pts if self._timed and picture.pts is not None else picture.dts
        if self._last_pts is None:
            self._last_pts = pts or 0
            return self._last_pts
        if pts is None:
            # A stream without any timestamps is no fault: it runs at its rate.
            pts = self._last_pts + (self._step or round(1 / (self._info.rate * self._time_base)))
        if pts <= self._last_pts:
            self.retimed += 1
            pts = self._last_pts + 1
        self._step = pts - self._last_pts
        self._last_pts = pts
        return pts
