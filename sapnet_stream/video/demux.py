"""The packets of a video file, in file order."""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import av
from av.stream import Discard, Stream

from sapnet_stream.errors import InputError, UsageError
from sapnet_stream.video.container import find_video, is_cover, open_input
from sapnet_stream.video.hardware import HardwareDecoder
from sapnet_stream.video.span import MICROSECOND, WHOLE, Span

if TYPE_CHECKING:
    Packet: TypeAlias = av.Packet[Any]
else:
    Packet = av.Packet

# Formats without times or an index: what follows a seek is a guess. AVI's index says when frames
# were, reading counts those that are there. MPEG program streams may give few pictures a time.
UNTIMED = {"av1", "avi", "dv", "h264", "hevc", "m4v", "mpeg", "mpegvideo", "obu", "yuv4mpegpipe"}

# A last packet may not say how long it lasts.
_SLACK_SECONDS = Fraction(1, 10)


class Demuxer:
    """Reads a local file packet by packet; lists of files and addresses are refused.

    Args:
        path: a local file.
        hardware: decodes its video; None leaves that to the CPU.

    Attributes:
        container: PyAV's.
        video: its first real video stream.
        others: all other streams.
        damaged: places where the demuxer lost its way.

    Raises:
        InputError: the file is missing, unreadable, or has no video that can be decoded.
        UsageError: the hardware knows nothing of its codec.
    """

    def __init__(self, path: Path, hardware: HardwareDecoder | None = None) -> None:
        self.path = path
        self.damaged = 0
        self.container = open_input(path, hardware)
        try:
            self.video = find_video(self.container, path)
            if hardware is not None and not self.video.codec_context.is_hwaccel:
                raise UsageError(
                    f"{path}: --hwaccel {hardware} does not decode "
                    f"{self.video.codec_context.name}: leave it out"
                )
        except BaseException:
            self.container.close()
            raise
        self.others = [
            stream
            for stream in self.container.streams
            # The demuxer discards what it has read already: a track of chapters.
            if stream.index != self.video.index and stream.discard != Discard.all
        ]

    @property
    def begin_seconds(self) -> Fraction:
        """When the file begins, on its own clock."""
        return (self.container.start_time or 0) * MICROSECOND

    @property
    def length_seconds(self) -> Fraction | None:
        """How long the file says it is."""
        duration = self.container.duration
        return duration * MICROSECOND if duration else None

    @property
    def listed(self) -> bool:
        """Whether the header counts the frames; their times may then leave gaps on purpose."""
        return self.container.format.name == "avi" or "mov" in self.container.format.name

    def stated_span(self, last_seconds: Fraction) -> Span:
        """From when to when the video should last, if its file says so; ask at the end.

        Matroska does. Others count frames (`listed`), or know no more than their packets.

        Args:
            last_seconds: when the last packet of all streams was over.
        """
        if self.container.format.name != "matroska,webm":
            return WHOLE
        unit = Fraction(self.video.time_base or MICROSECOND)
        # Only a seek reads the index, which knows of the first packets even if they are lost.
        self.seek(self.begin_seconds)
        begin = min((entry.timestamp * unit for entry in self.video.index_entries), default=None)
        tag = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", self.video.metadata.get("DURATION", ""))
        if tag:
            return Span(begin, int(tag[1]) * 3600 + int(tag[2]) * 60 + Fraction(tag[3]))
        # The length of the longest stream says something of the video if all end before it.
        length = self.length_seconds
        cut = length is not None and length - last_seconds > _SLACK_SECONDS
        return Span(begin, length if cut else None)

    @property
    def seekable(self) -> bool:
        """Whether times after a seek are those of reading from the beginning."""
        return self.container.format.name not in UNTIMED

    def seek(self, seconds: Fraction) -> bool:
        """Go to a keyframe of the video at or before a time, or say there is no way there."""
        try:
            self.container.seek(int(seconds / (self.video.time_base or 1)), stream=self.video)
        except av.error.FFmpegError:
            return False
        return True

    def packets(
        self, streams: Sequence[Stream], end_seconds: Fraction | None = None
    ) -> Iterator[Packet]:
        """Every packet with content of `streams`.

        Args:
            streams: of `container`.
            end_seconds: stop when the video and sound among them are past it. Subtitles and
                data are too sparse to wait for.
        """
        open_ends = {s.index for s in streams if s.type in ("video", "audio") and not is_cover(s)}
        for packet in self._readable(streams):
            index = packet.stream.index
            if end_seconds is not None and index in open_ends and _is_past(packet, end_seconds):
                open_ends.discard(index)
                if not open_ends:
                    return
            if packet.size:
                yield packet

    def _readable(self, streams: Sequence[Stream]) -> Iterator[Packet]:
        stuck = False
        while not stuck:
            stuck = True
            try:
                for packet in self.container.demux(*streams):
                    stuck = False
                    yield packet
                return
            except (av.error.InvalidDataError, av.error.MemoryError):
                # What is behind a packet that cannot be, or says it is larger than the memory,
                # may be intact.
                self.damaged += 1
            except IndexError:
                # At the end PyAV (19.0 still) also asks for streams that appeared on the way.
                return
            except av.error.FFmpegError as error:
                raise InputError(f"{self.path} cannot be read on: {error.strerror}") from error


def _is_past(packet: Packet, seconds: Fraction) -> bool:
    # Frames that are shown before a time may be decoded after it, never the other way.
    return packet.dts is not None and packet.dts * packet.time_base >= seconds


def is_inside(pts: int | None, time_base: Fraction | None, span: Span) -> bool:
    """Whether a time is in `span`; what has none is."""
    return pts is None or time_base is None or pts * time_base in span
