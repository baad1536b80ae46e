"""Frames into a file of video alone."""

import os
from pathlib import Path

import av
import av.container

from sapnet_stream.errors import OutputError
from sapnet_stream.target import write_failure
from sapnet_stream.video.codec import EncoderPlan
from sapnet_stream.video.container import abandon, container_format
from sapnet_stream.video.demux import Packet
from sapnet_stream.video.frame import Frame
from sapnet_stream.video.info import VideoInfo
from sapnet_stream.video.picture import with_neutral_chroma, write_planes
from sapnet_stream.video.stream_tag import tag_stream

PROGRESSIVE = 1  # AV_FIELD_PROGRESSIVE


class VideoEncoder:
    """Writes `Frame`s to a file; the file is whole, and on the disk, after `finish`.

    Args:
        path: the file, replaced if it exists; its suffix names the container.
        info: of the pictures to come.
        plan: encoder, options and pixel format.

    Attributes:
        pts: presentation times of the packets written so far, in their order, in units of
            `info.time_base`. The container may round and shift its own.

    Raises:
        OutputError: the file cannot be created.
    """

    def __init__(self, path: Path, info: VideoInfo, plan: EncoderPlan) -> None:
        self.path = path
        self.pts: list[int] = []
        self._info = info
        self._plan = plan
        self._frames = 0
        try:
            self._container = av.open(f"file:{path}", "w", format=container_format(path))
        except OSError as error:
            raise write_failure(path, error) from error
        try:
            self._stream = add_video(self._container, info, plan)
        except BaseException:
            self.abort()
            raise

    def write(self, frame: Frame) -> None:
        """Encode a frame.

        Raises:
            OutputError: the disk is full, or the encoder refuses its settings.
        """
        self._frames += 1
        self._mux(self._encode(encodable(frame, self._info, self._plan)))

    def finish(self) -> None:
        """Write what the encoder still holds, close, and wait until the disk has it.

        Raises:
            OutputError: the disk is full, or the encoder lost frames.
        """
        self._mux(self._encode(None))
        if len(self.pts) != self._frames:
            raise OutputError(
                f"{self._plan.encoder} returned {len(self.pts)} frames of {self._frames}: "
                "choose another --codec"
            )
        try:
            self._container.close()
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise write_failure(self.path, error) from error

    def abort(self) -> None:
        """Close an unfinished file, which nobody needs; after `finish`, do nothing."""
        abandon(self._container)

    def _encode(self, picture: av.VideoFrame | None) -> list[Packet]:
        try:
            return self._stream.encode(picture)
        except (av.error.FFmpegError, ValueError) as error:
            raise refusal(self._info, self._plan) from error

    def _mux(self, packets: list[Packet]) -> None:
        try:
            for packet in packets:
                assert packet.pts is not None, "encoders return the times they are given"
                self.pts.append(packet.pts)
                # x265 may have two frames decoded after they are shown, if there are but two.
                packet.dts = packet.pts if packet.dts is None else min(packet.dts, packet.pts)
                self._container.mux_one(packet)
        except OSError as error:
            raise write_failure(self.path, error) from error
        except (av.error.FFmpegError, ValueError) as error:
            raise refusal(self._info, self._plan) from error


def add_video(
    container: av.container.OutputContainer, info: VideoInfo, plan: EncoderPlan
) -> av.VideoStream:
    """The stream that says of itself what the source's video said.

    Args:
        container: whose header is not written yet.
        info: size, time base, tags, rotation.
        plan: of its encoder, opened with the header.
    """
    stream = container.add_stream(plan.encoder, rate=info.rate, options=plan.options)
    assert isinstance(stream, av.VideoStream)
    # First of all: it overwrites the rest.
    tag_stream(stream, plan.codec, info.hdr)
    context = stream.codec_context
    if plan.codec == "hevc" and container.format.name in ("mp4", "mov"):
        # Apple's players take no other; the parameter sets are in the header.
        context.codec_tag = "hvc1"
    context.width, context.height = info.width, info.height
    context.framerate = info.rate
    context.pix_fmt = plan.pixel_format
    context.time_base = info.time_base
    if info.sample_aspect_ratio:
        context.sample_aspect_ratio = info.sample_aspect_ratio
    # The header may speak of the first picture alone.
    if info.interlaced and info.field_order != PROGRESSIVE:
        context.field_order = info.field_order
    context.colorspace, context.color_range = plan.matrix, plan.color_range
    context.color_primaries, context.color_trc = info.primaries, info.transfer
    context.thread_type = "AUTO"
    if info.display_matrix is not None:
        stream.set_display_matrix(info.display_matrix)
    return stream


def encodable(frame: Frame, info: VideoInfo, plan: EncoderPlan) -> av.VideoFrame:
    """The picture that the encoder of `plan` is given for a frame; spends the decoder's own."""
    planes, layout = frame.planes, frame.layout
    if layout.model == "gray" and not plan.pixel_format.startswith("gray"):
        planes, layout = with_neutral_chroma(planes, layout)
    picture = write_planes(planes, layout, frame.picture)
    picture.colorspace, picture.color_range = info.matrix, info.color_range
    picture.color_primaries, picture.color_trc = info.primaries, info.transfer
    if layout.name != plan.pixel_format:
        picture = picture.reformat(
            format=plan.pixel_format,
            dst_colorspace=plan.matrix,
            dst_color_range=plan.color_range,
        )
        # Some encoders write these rather than their own.
        picture.colorspace, picture.color_range = plan.matrix, plan.color_range
    picture.pts, picture.time_base = frame.pts, frame.time_base
    picture.duration = frame.duration
    return picture


def refusal(info: VideoInfo, plan: EncoderPlan) -> OutputError:
    """The encoder does not open with these settings."""
    return OutputError(
        f"{plan.encoder} cannot encode {info.width}x{info.height} {plan.pixel_format} "
        f"with {plan}: choose another --codec or --preset"
    )
