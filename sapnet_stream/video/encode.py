"""Frames into a video file, beside the untouched packets of the source's other streams."""

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.container

from sapnet_stream.errors import OutputError
from sapnet_stream.video.codec import EncoderSettings, plan_encoder
from sapnet_stream.video.container import container_format
from sapnet_stream.video.decode import Packet, VideoDecoder
from sapnet_stream.video.frame import BT601, BT709, HD_LINES, Frame
from sapnet_stream.video.info import VideoInfo
from sapnet_stream.video.picture import with_neutral_chroma, write_planes

LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG


class VideoEncoder:
    """Writes `Frame`s and copied packets to a file that appears only when it is complete.

    Until `finish`, the file is called like the target with `.partial` before its suffix, and
    a number if there is such a file already.

    Args:
        path: the target; its suffix names the container.
        source: the decoder the frames come from: its tags, rotation, metadata, chapters and
            other streams are carried over.
        info: of the pictures to come, where they differ from the source's (a comparison).
        settings: codec, quality and effort.
        overwrite: replace an existing target.

    Attributes:
        plan: encoder, options and pixel format in use.
        written: frames that the encoder returned.
        left_out: descriptions of streams the container cannot hold.
        retimed: copied packets whose time went back.

    Raises:
        OutputError: the target exists, cannot be created, or cannot hold the video.
    """

    def __init__(
        self,
        path: Path,
        source: VideoDecoder,
        info: VideoInfo,
        settings: EncoderSettings,
        *,
        overwrite: bool = False,
    ) -> None:
        check_target(path, source.path, overwrite=overwrite)
        self.path = path
        self.written = self.retimed = 0
        self.left_out: list[str] = []
        self._info = info
        self._offset_seconds = source.offset_seconds
        self._overwrite = overwrite
        self._kept = False
        self._last_dts: dict[int, int] = {}
        self.partial = self._claim()
        self._container = av.open(f"file:{self.partial}", "w", format=container_format(path))
        try:
            self.plan = plan_encoder(settings, info, self._container)
            self._stream = self._add_video(source)
            self._copies = self._add_copies(source)
            self._container.metadata.update(source.metadata)
            self._container.set_chapters(source.chapters)
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()

    def write(self, item: Frame | Packet) -> None:
        """Encode a frame, or copy a packet of another stream.

        Raises:
            OutputError: the disk is full, or the container refuses the stream.
        """
        if isinstance(item, Frame):
            self._mux(self._encode(self._picture(item)))
        elif item.stream.index in self._copies:
            self._mux([self._copy(item)])

    def finish(self, frames: int) -> None:
        """Write what the encoder still holds, close, and give the file its name.

        Args:
            frames: how many were written; another number of encoded ones is an error.

        Raises:
            OutputError: the disk is full, or the encoder lost frames.
        """
        self._mux(self._encode(None))
        if self.written != frames:
            raise OutputError(
                f"{self.plan.encoder} returned {self.written} frames of {frames}: "
                "nothing was kept; choose another --codec"
            )
        try:
            self._container.close()
            # Not before: what was written by another program meanwhile must not be lost.
            if self.path.exists() and not self._overwrite:
                self._kept = True
                raise OutputError(
                    f"{self.path} was written by someone else meanwhile: "
                    f"the result is {self.partial}"
                )
            self.partial.replace(self.path)
        except OSError as error:
            raise self._failure(error) from error

    def abort(self) -> None:
        """Close and remove the unfinished file; after `finish`, do nothing."""
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError, ValueError):
            # The header was never written, or the disk is full: there is nothing to keep.
            return
        finally:
            if not self._kept:
                self.partial.unlink(missing_ok=True)

    def _claim(self) -> Path:
        """Create the unfinished file, under a name that nobody else uses."""
        number = ""
        while True:
            partial = self.path.with_name(f"{self.path.stem}.partial{number}{self.path.suffix}")
            try:
                partial.open("xb").close()
                return partial
            except FileExistsError:
                number = str(int(number or 1) + 1)
            except OSError as error:
                raise self._failure(error) from error

    def _copy(self, packet: Packet) -> Packet:
        """A packet of the source for the target, moved where muxers would refuse its time."""
        shift = round(self._offset_seconds / packet.time_base)
        last = self._last_dts.get(packet.stream.index)
        times = [time for time in (packet.dts, packet.pts) if time is not None]
        dts = times[0] - shift if times else None
        if last is not None:
            # Two subtitles may begin at once, two blocks of sound may not.
            least = last + (packet.stream.type in ("audio", "video"))
            if dts is None or dts < least:
                self.retimed += 1
                dts = least
        dts = dts or 0
        self._last_dts[packet.stream.index] = dts
        packet.pts = dts if packet.pts is None else max(packet.pts - shift, dts)
        packet.dts = dts
        packet.stream = self._copies[packet.stream.index]
        return packet

    def _add_video(self, source: VideoDecoder) -> av.VideoStream:
        info, plan = self._info, self.plan
        stream = self._container.add_stream(plan.encoder, rate=info.rate, options=plan.options)
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        context.width, context.height = info.width, info.height
        context.pix_fmt = plan.pixel_format
        context.time_base = info.time_base
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
        context.colorspace, context.color_range = self._matrix_and_range()
        context.color_primaries, context.color_trc = info.primaries, info.transfer
        context.thread_type = "AUTO"
        stream.metadata.update(source.video_metadata)
        if info.display_matrix is not None:
            stream.set_display_matrix(info.display_matrix)
        return stream

    def _matrix_and_range(self) -> tuple[int, int]:
        """The tags of what is written: the source's, unless RGB had to become Y'CbCr."""
        info = self._info
        if info.layout.model != "rgb" or self.plan.pixel_format.startswith("gbr"):
            return info.matrix, info.color_range
        return (BT709 if info.height >= HD_LINES else BT601), LIMITED_RANGE

    def _add_copies(self, source: VideoDecoder) -> dict[int, av.stream.Stream]:
        copies: dict[int, av.stream.Stream] = {}
        supported = self._container.supported_codecs
        for stream in source.copied:
            # The set holds the names of decoders too, and a stream's codec is named after one.
            codec = stream.codec_context.name if stream.codec_context else None
            if codec not in supported:
                self.left_out.append(f"stream {stream.index} ({stream.type} {codec or 'data'})")
                continue
            copy = self._container.add_stream_from_template(stream)
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            copies[stream.index] = copy
        return copies

    def _picture(self, frame: Frame) -> av.VideoFrame:
        planes, layout = frame.planes, frame.layout
        if layout.model == "gray" and not self.plan.pixel_format.startswith("gray"):
            planes, layout = with_neutral_chroma(planes, layout)
        picture = write_planes(planes, layout)
        info = self._info
        picture.colorspace, picture.color_range = info.matrix, info.color_range
        picture.color_primaries, picture.color_trc = info.primaries, info.transfer
        if layout.name != self.plan.pixel_format:
            matrix, color_range = self._matrix_and_range()
            picture = picture.reformat(
                format=self.plan.pixel_format,
                dst_colorspace=matrix,
                dst_color_range=color_range,
            )
        picture.pts = frame.pts - round(self._offset_seconds / frame.time_base)
        picture.time_base = frame.time_base
        picture.duration = frame.duration
        return picture

    def _encode(self, picture: av.VideoFrame | None) -> list[Packet]:
        try:
            packets = self._stream.encode(picture)
        except (av.error.FFmpegError, ValueError) as error:
            raise OutputError(
                f"{self.plan.encoder} cannot encode {self._info.width}x{self._info.height} "
                f"{self.plan.pixel_format} with {self.plan}: choose another --codec or --preset"
            ) from error
        self.written += len(packets)
        return packets

    def _mux(self, packets: list[Packet]) -> None:
        try:
            for packet in packets:
                self._container.mux_one(packet)
        except OSError as error:
            raise self._failure(error) from error
        except (av.error.FFmpegError, ValueError) as error:
            raise OutputError(
                f"{self._container.format.name} files cannot hold these streams ({error}): "
                "name the output .mkv"
            ) from error

    def _failure(self, error: OSError) -> OutputError:
        if error.errno == errno.ENOSPC:
            return OutputError(f"the disk of {self.path} is full: free space and run again")
        reason = error.strerror or str(error)
        return OutputError(f"{self.path} cannot be written: {reason}")


def check_target(path: Path, source: Path, *, overwrite: bool) -> None:
    """Refuse to write over what must not be lost.

    Raises:
        OutputError: the target is the source, exists, or its folder does not; its ending names
            no container.
    """
    container_format(path)
    # os.path takes names that no file can have for missing files, pathlib raises.
    if not os.path.isdir(path.parent):
        raise OutputError(f"{path.parent} is not a folder: create it first")
    if not os.path.exists(path):
        return
    if os.path.exists(source) and path.samefile(source):
        raise OutputError(f"{path} is the input: name another output")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name a file in it")
    if not path.is_file():
        raise OutputError(f"{path} is a device or a pipe: name a file")
    if not overwrite:
        raise OutputError(f"{path} exists: name another output, or add --overwrite")
