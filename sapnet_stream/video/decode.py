"""Frames of a video file, and the packets of its other streams, in file order."""

from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import av
import av.container
import numpy as np
import torch
from av.stream import Disposition

from sapnet_stream.errors import InputError, UsageError
from sapnet_stream.video.frame import Frame, PixelLayout, planar_name
from sapnet_stream.video.info import DEFAULT_TIME_BASE, VideoInfo, average_rate, video_info

# A list of other files or addresses named .mp4 must not be followed, so only formats that
# carry their own data may open, and only from the file itself.
CONTAINER_FORMATS = (
    "3g2,3gp,asf,av1,avi,dv,flv,gif,h264,hevc,image2,ivf,m4a,m4v,matroska,mj2,mov,mp4,mpeg,"
    "mpegts,mpegtsraw,mpegvideo,mxf,nut,obu,ogg,png_pipe,rm,webm,wtv,yuv4mpegpipe"
)
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
        self.path = path
        self.damaged = 0
        self.retimed = 0
        self.decoded = 0
        if start_seconds is not None and start_seconds < 0:
            raise UsageError(f"--start must be 0 or more, got {start_seconds:g}")
        if duration_seconds is not None and duration_seconds <= 0:
            raise UsageError(f"--duration must be more than 0, got {duration_seconds:g}")
        self._container = open_input(path)
        try:
            self._stream = self._video_stream()
            self.copied = [s for s in self._container.streams if s.index != self._stream.index]
            self._stream.thread_type = "AUTO"
            self._time_base = Fraction(self._stream.time_base or DEFAULT_TIME_BASE)
            self.offset_seconds = self._seek(start_seconds)
            self._begin = self.offset_seconds if start_seconds else None
            self._end = self._end_of(duration_seconds)
            self._last_pts: int | None = None
            self._waiting: deque[Frame | Packet] = deque()
            self._events = self._read()
            self.info = self._read_info()
            self._announced = self._stream.frames if self._begin is self._end is None else 0
        except BaseException:
            self._container.close()
            raise

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
        """As PyAV gives them, for an output that begins where this file does."""
        return list(self._container.chapters())

    @property
    def missing(self) -> int:
        """Frames the header announced and the file, read to its end, did not hold."""
        return max(0, self._announced - self.decoded)

    def __iter__(self) -> Generator[Frame | Packet, None, None]:
        return self.items()

    def items(self) -> Generator[Frame | Packet, None, None]:
        """Frames of the video and packets of the other streams, once."""
        while self._waiting:
            yield self._waiting.popleft()
        yield from self._events

    def _video_stream(self) -> av.VideoStream:
        for stream in self._container.streams.video:
            # Cover art is a video stream of one picture.
            if not stream.disposition & Disposition.attached_pic:
                if stream.codec_context is None:
                    raise InputError(f"{self.path}: no decoder for its video; convert it first")
                return stream
        raise InputError(f"{self.path} has no video stream: give a video file")

    def _seek(self, start_seconds: float | None) -> Fraction:
        """Go to the keyframe before the start; the start in the file's own time."""
        if not start_seconds:
            return Fraction(0)
        begin = (self._container.start_time or 0) * MICROSECOND
        begin += Fraction(start_seconds).limit_denominator(1_000_000)
        length = self._container.duration
        if length and begin >= ((self._container.start_time or 0) + length) * MICROSECOND:
            raise UsageError(
                f"--start {start_seconds:g} is beyond the end of {self.path} "
                f"({float(length * MICROSECOND):.3f} s)"
            )
        self._container.seek(int(begin / self._time_base), stream=self._stream)
        return begin

    def _end_of(self, duration_seconds: float | None) -> Fraction | None:
        if duration_seconds is None:
            return None
        begin = self._begin
        if begin is None:
            begin = (self._container.start_time or 0) * MICROSECOND
        return begin + Fraction(duration_seconds).limit_denominator(1_000_000)

    def _read_info(self) -> VideoInfo:
        """Decode up to the first frame, which knows what the header may leave open."""
        for event in self._events:
            self._waiting.append(event)
            if isinstance(event, Frame):
                return self._info
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
                if packet.dts is not None and self._is_inside(packet.pts, packet.time_base):
                    yield packet
            elif index in open_ends:
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
            self.damaged += picture.is_corrupt
            frame = self._frame_from(picture)
            if self._is_inside(frame.pts, frame.time_base):
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
            planes=_planes(picture, info.layout),
            layout=info.layout,
            colour=info.colour,
            pts=self._monotonic(picture),
            time_base=self._time_base,
            duration=picture.duration or 0,
            keyframe=picture.key_frame,
        )

    def _monotonic(self, picture: av.VideoFrame) -> int:
        """The picture's own pts, or the next possible one if it has none or goes back."""
        pts = picture.pts if picture.pts is not None else picture.dts
        if self._last_pts is not None and (pts is None or pts <= self._last_pts):
            # A stream without any timestamps is no fault: it runs at its rate.
            self.retimed += pts is not None
            step = round(1 / (self._info.rate * self._time_base)) if pts is None else 1
            pts = self._last_pts + max(1, step)
        self._last_pts = pts if pts is not None else 0
        return self._last_pts


# PyAV 18 stops at a title that is not UTF-8 unless told otherwise; 19 has no such argument.
_OPEN_ARGUMENTS: dict[str, Any] = (
    {"metadata_errors": "replace"} if av.__version__.startswith("18.") else {}
)


def open_input(path: Path) -> av.container.InputContainer:
    """Open a local media file without following lists or addresses.

    Raises:
        InputError: in one sentence, why not.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a video file")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    try:
        container: av.container.InputContainer = av.open(
            f"file:{path}",
            options={"protocol_whitelist": "file", "format_whitelist": CONTAINER_FORMATS},
            **_OPEN_ARGUMENTS,
        )
        return container
    except av.error.PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied") from error
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(
            f"{path} is not a video file this program can read, or it is damaged: "
            "try playing it, or convert it to .mp4 or .mkv"
        ) from error


def _planes(picture: av.VideoFrame, layout: PixelLayout) -> tuple[torch.Tensor, ...]:
    """The samples as tensors over the decoder's own memory, kept alive by them."""
    if picture.format.name.replace("yuvj", "yuv") != layout.name:
        picture = picture.reformat(format=layout.name)
    kind = np.uint8 if layout.bits == 8 else np.uint16
    shapes = layout.plane_shapes(picture.height, picture.width)
    planes = []
    for plane, (rows, columns) in zip(picture.planes, shapes, strict=True):
        samples = np.frombuffer(memoryview(plane), kind).reshape(rows, -1)
        planes.append(torch.from_numpy(samples[:, :columns]))
    return tuple(planes)
