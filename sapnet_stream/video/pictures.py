"""The pictures of a file's video, as its decoder gives them."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av

from sapnet_stream.errors import InputError
from sapnet_stream.video.complaints import complaint_count
from sapnet_stream.video.demux import Demuxer, Packet
from sapnet_stream.video.hardware import HardwareDecoder

# Slow codecs whose decoders take threads over frames, and name whatever is wrong in FFmpeg's log.
# VP9's does not always. Others are quick, or fast by slices; AV1's has threads of its own.
FRAME_THREADED = {"h264", "hevc"}
# Each thread holds a picture or two.
MOST_THREADS = 8


class _TroubleError(Exception):
    """Something may be wrong with what threads over frames decode."""


class Pictures:
    """The pictures of a file's first real video stream, in the order they are shown, once.

    Several threads, each with a frame of its own, decode as long as all is well. They report a
    damaged packet late, PyAV then drops intact pictures, and where something is missing they
    make up other samples. So at the first sign of damage what they hold is thrown away: the
    file is read again, from the same place on, without such threads, and pictures go on behind
    the last that was handed out: damage late in a file costs decoding it twice. Pictures and
    `damaged` are those of a decoder without such threads. (Rows that it loses without notice show
    what was left in memory; that depends on how long each picture is held, with threads or
    without.)

    A decoder that begins at a keyframe near the damage gives the same times, but in a few damaged
    pictures other samples: FFmpeg reads on, behind a damaged packet, in what a longer one left in
    its buffer, be it the first of the file; and what it makes up for lost packets may depend on
    what was lost before the keyframe.

    Whoever does not read to the end must close it.

    Args:
        path: a local file.
        end_seconds: of the packets to decode; None is the end of the file.
        seek_seconds: begin at a keyframe at or before this time; None is the first packet.
        hardware: decodes the video, always frame by frame; None leaves that to the CPU.
        on_again: called for each picture that is decoded a second time, with how many were, and
            how many are to be.
        check: called for each packet; may raise to give up.

    Attributes:
        demuxer: of the file; another one once damage was seen.
        found: whether there was a way to `seek_seconds`.

    Raises:
        InputError, UsageError: as `Demuxer` does.
    """

    def __init__(
        self,
        path: Path,
        end_seconds: Fraction | None,
        seek_seconds: Fraction | None,
        hardware: HardwareDecoder | None,
        on_again: Callable[[int, int], None],
        check: Callable[[], None],
    ) -> None:
        self._path = path
        self._end_seconds = end_seconds
        self._seek_seconds = seek_seconds
        self._hardware = hardware
        self._on_again = on_again
        self._check = check
        self._broken = 0
        self._open()
        slow = self.demuxer.video.codec_context.name in FRAME_THREADED
        self._threads = _thread_count() if slow and hardware is None else 1
        self._pictures = self._decoded()

    def __iter__(self) -> Generator[av.VideoFrame, None, None]:
        return self._pictures

    def close(self) -> None:
        """Release the file."""
        self._pictures.close()
        self.demuxer.container.close()

    @property
    def damaged(self) -> int:
        """Packets that were broken, and places where the demuxer lost its way."""
        # With threads, packets are read ahead of the pictures, and the first damage ends that.
        return 0 if self._threads > 1 else self._broken + self.demuxer.damaged

    def _open(self) -> None:
        self.demuxer = Demuxer(self._path, self._hardware)
        self.found = self._seek_seconds is None or (
            self.demuxer.seekable and self.demuxer.seek(self._seek_seconds)
        )

    def _decoded(self) -> Generator[av.VideoFrame, None, None]:
        count = 0
        if self._threads > 1:
            try:
                with closing(self._by_threads()) as pictures:
                    for picture in pictures:
                        count += 1
                        yield picture
                return
            except (_TroubleError, InputError):
                self.demuxer.container.close()
                self._open()
                self._threads = 1
        again = self._one_by_one()
        for number, picture in enumerate(islice(again, count), 1):
            self._on_again(number, count)
            # As their reader did, so that as much of them is left in memory for lost rows to show.
            picture.make_writable()
        yield from again

    def _packets(self) -> Iterator[Packet | None]:
        """To decode; None at the end, for what the decoder still holds."""
        for packet in self.demuxer.packets([self.demuxer.video], self._end_seconds):
            self._check()
            yield packet
        yield None

    def _by_threads(self) -> Generator[av.VideoFrame, None, None]:
        context = self.demuxer.video.codec_context
        context.thread_type, context.thread_count = "FRAME", self._threads
        interlaced = None
        with complaint_count(context.name) as complained:
            try:
                for packet in self._packets():
                    pictures = context.decode(packet)
                    # Some damage is neither an error nor marked in the picture.
                    if complained() or self.demuxer.damaged:
                        raise _TroubleError
                    for picture in pictures:
                        # A thread may remember another picture's flag than the one before.
                        interlaced = picture.interlaced_frame if interlaced is None else interlaced
                        if picture.is_corrupt or picture.interlaced_frame != interlaced:
                            raise _TroubleError
                        yield picture
            except (av.error.FFmpegError, ValueError) as error:
                raise _TroubleError from error
            finally:
                # Waits for threads that may have something to say, and not with Python's lock, as
                # destruction would: they need it to say it.
                context.flush_buffers()

    def _one_by_one(self) -> Iterator[av.VideoFrame]:
        stream = self.demuxer.video
        stream.thread_type = "SLICE"
        for packet in self._packets():
            try:
                pictures = stream.decode(packet)
            except av.error.EOFError:
                continue
            except (av.error.FFmpegError, ValueError):  # PyAV 19: no decoder took the header
                # Decoders recover at the next intact picture.
                self._broken += 1
                continue
            yield from pictures


def _thread_count() -> int:
    return min(MOST_THREADS, os.cpu_count() or 1)
