"""The frames of a video file, in the order they are shown."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Self

import av

from sapnet_stream.errors import InputError, UsageError
from sapnet_stream.video.deinterlace import deinterlaced
from sapnet_stream.video.demux import is_inside
from sapnet_stream.video.frame import Frame, planar_name
from sapnet_stream.video.hardware import HardwareDecoder
from sapnet_stream.video.info import DEFAULT_TIME_BASE, VideoInfo, average_rate, video_info
from sapnet_stream.video.picture import read_planes
from sapnet_stream.video.pictures import Pictures
from sapnet_stream.video.span import WHOLE, Span

# Demuxers seek by decoding time, or by guess, and may land behind the frame asked for: then
# from further back, at last (None) from the beginning of the file.
SEEK_MARGINS_SECONDS = (1, 10, None)
# Missing rows are filled in from the frame that follows.
FIELDS_AHEAD_SECONDS = 1
# Later than any video, and early enough for arithmetic in 64 bits in any unit.
MOST_SECONDS = 10**9
# More pictures of another size in a row are no damage: the video itself changes.
MOST_STRANGE = 10


class NoFrameError(UsageError):
    """There is no frame in the span that was asked for."""


class VideoDecoder:
    """Iterates over the `Frame`s of a file's first real video stream, once.

    Args:
        path: a local file; lists of files and network addresses are refused.
        span: frames outside are left out.
        lead_seconds: but for those that begin this much earlier, or less.
        careful: never seek; slower, and exact even where the file is damaged.
        deinterlace: make whole pictures of frames that are two fields.
        hardware: decodes the video; None leaves that to the CPU.
        on_again, check: see `Pictures`.

    Attributes:
        info: of the video stream, known after the first frame was decoded.
        begin_seconds: when the file begins, on its own clock.
        metadata: the video stream's language, title and so on.
        damaged: broken packets that no frame tells of yet; at the end, those behind the last.

    Raises:
        InputError: the file is missing, unreadable, or has no video that can be decoded.
        NoFrameError: the span is empty.
        UsageError: the hardware knows nothing of the video's codec.
    """

    def __init__(
        self,
        path: Path,
        span: Span = WHOLE,
        *,
        lead_seconds: Fraction | int = 0,
        careful: bool = False,
        deinterlace: bool = False,
        hardware: HardwareDecoder | None = None,
        on_again: Callable[[int, int], None] = lambda *_: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self._span = span
        self._read_span = span.led_by(lead_seconds)
        self._deinterlace = deinterlace
        end = span.end
        if end is not None and deinterlace:
            end += FIELDS_AHEAD_SECONDS
        seeks = span.begin is not None and not careful
        for margin in SEEK_MARGINS_SECONDS if seeks else (None,):
            seek = None if margin is None else (self._read_span.begin or 0) - Fraction(margin)
            self._pictures = Pictures(path, end, seek, hardware, on_again, check)
            try:
                self._prepare()
                if self._pictures.found and self._read_info(margin is None):
                    return
            except BaseException:
                self._pictures.close()
                raise
            self._pictures.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._frames.close()
        self._pictures.close()

    def __iter__(self) -> Generator[Frame, None, None]:
        return self.frames()

    def frames(self) -> Generator[Frame, None, None]:
        """The frames, once."""
        while self._waiting:
            yield self._waiting.popleft()
        yield from self._frames

    def _prepare(self) -> None:
        self._broken = self._told = self._retimed = self.decoded = 0
        demuxer = self._pictures.demuxer
        self.begin_seconds = demuxer.begin_seconds
        self.metadata = dict(demuxer.video.metadata)
        self._time_base = Fraction(demuxer.video.time_base or DEFAULT_TIME_BASE)
        # AVI stores no presentation times, and those made up for it jump.
        self._timed = demuxer.container.format.name != "avi"
        self._reached_begin = False
        self._last_pts: int | None = None
        self._step: int | None = None
        self._waiting: deque[Frame] = deque()
        self._strange: list[str] = []
        self._frames = self._read()

    def _read_info(self, from_beginning: bool) -> bool:
        """Decode up to the first frame, which knows what the header may leave open.

        Returns:
            False if frames between the span's begin and this first one may have been passed.
        """
        for frame in self._frames:
            self._waiting.append(frame)
            self.info = self._info
            return from_beginning or self._reached_begin
        if not from_beginning:
            return False
        if self.decoded:
            begin, end = self._span.begin is not None, self._span.end is not None
            where = " and ".join(
                ["at or after --start"] * begin + ["before the end of --duration"] * end
            )
            raise NoFrameError(f"{self.path} has no frame {where}")
        raise InputError(f"{self.path}: no frame of its video could be decoded")

    @property
    def damaged(self) -> int:
        return self._broken + self._pictures.damaged - self._told

    def _read(self) -> Generator[Frame, None, None]:
        pictures = self._timed_pictures()
        for picture in deinterlaced(pictures) if self._deinterlace else pictures:
            self._broken += picture.is_corrupt
            frame = replace(
                frame_from(picture, self._info, self._time_base),
                damaged=self.damaged,
                retimed=self._retimed,
            )
            self._told += frame.damaged
            self._retimed = 0
            begin = self._read_span.begin
            seconds = frame.pts * frame.time_base
            # Missing rows are filled in from the frame before, too.
            if begin is None or seconds < begin or (seconds == begin and not self._deinterlace):
                self._reached_begin = True
            if is_inside(frame.pts, frame.time_base, self._read_span):
                yield frame

    def _timed_pictures(self) -> Iterator[av.VideoFrame]:
        for picture in self._pictures:
            if not self.decoded:
                video = self._pictures.demuxer.video
                self._info = video_info(picture, video, self._count_frames())
                if self._deinterlace:
                    self._info = replace(self._info, interlaced=False)
            self.decoded += 1
            if self._is_strange(picture):
                continue
            picture.pts, picture.time_base = self._monotonic(picture), self._time_base
            yield picture
        if self._strange:
            raise InputError(self._strange[0])

    def _count_frames(self) -> int | None:
        """How many frames the span holds, by what the header says; None if it says nothing."""
        demuxer = self._pictures.demuxer
        video = demuxer.video
        if self._span == WHOLE and video.frames:
            return video.frames
        if video.duration:
            length = video.duration * self._time_base
        elif demuxer.length_seconds:
            length = demuxer.length_seconds
        else:
            return None
        end = self.begin_seconds + length
        end = end if self._span.end is None else min(end, self._span.end)
        begin = self.begin_seconds if self._span.begin is None else self._span.begin
        return max(1, round((end - begin) * average_rate(video)))

    def _is_strange(self, picture: av.VideoFrame) -> bool:
        """Whether a picture is not like the first: one damaged header, or many to follow."""
        info = self._info
        name = planar_name(picture.format.name)
        if (picture.width, picture.height, name) == (info.width, info.height, info.layout.name):
            self._broken += len(self._strange)
            self._strange.clear()
            return False
        self._strange.append(
            f"{self.path}: at frame {self.decoded} the picture changes from "
            f"{info.width}x{info.height} {info.layout.name} to "
            f"{picture.width}x{picture.height} {name}: cut the file there"
        )
        if len(self._strange) > MOST_STRANGE:
            raise InputError(self._strange[0])
        return True

    def _monotonic(self, picture: av.VideoFrame) -> int:
        """The picture's own pts, or the next possible one if it has none or goes back."""
        pts = picture.pts if self._timed and picture.pts is not None else picture.dts
        if pts is not None and abs(pts * self._time_base) > MOST_SECONDS:
            self._retimed += 1
            pts = None
        if self._last_pts is None:
            self._last_pts = pts or 0
            return self._last_pts
        if pts is None:
            # A stream without any timestamps is no fault: it runs at its rate.
            pts = self._last_pts + (self._step or round(1 / (self._info.rate * self._time_base)))
        if pts <= self._last_pts:
            self._retimed += 1
            pts = self._last_pts + 1
        self._step = pts - self._last_pts
        self._last_pts = pts
        return pts


def frame_from(picture: av.VideoFrame, info: VideoInfo, time_base: Fraction) -> Frame:
    """A decoded picture, which has a time, as a frame with its time in units of `time_base`."""
    assert picture.pts is not None and picture.time_base is not None
    # What was deinterlaced counts in halves.
    unit = picture.time_base / time_base
    return Frame(
        planes=read_planes(picture, info.layout),
        layout=info.layout,
        colour=info.colour,
        pts=int(picture.pts * unit),
        time_base=time_base,
        duration=int((picture.duration or 0) * unit),
        keyframe=picture.key_frame,
        interlaced=picture.interlaced_frame,
        orientation=info.orientation,
        picture=picture,
    )
