"""What a video stream says of itself."""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from sapnet_stream.errors import InputError
from sapnet_stream.video.frame import Colour, PixelLayout, pixel_layout, planar_name
from sapnet_stream.video.hdr import StaticHdr, dynamic_hdr, static_hdr
from sapnet_stream.video.orientation import Orientation
from sapnet_stream.video.picture import side_data

FULL_RANGE = 2  # AVCOL_RANGE_JPEG
DEFAULT_TIME_BASE = Fraction(1, 1000)
# Which of its first pictures are two fields tells whether a video is interlaced: film with some
# fields shown twice repeats after five, and others begin with a progressive title.
FIRST_PICTURES = 25


@dataclass(frozen=True)
class VideoInfo:
    """What a stream says of itself, as far as an encoder must say it again.

    Attributes:
        width: of the coded picture in pixels, before any display rotation.
        height: likewise.
        layout: planar layout the decoder hands out.
        colour: how samples stand for R'G'B'.
        codec: FFmpeg's name, "h264".
        rate: frames per second, average; only a hint for variable frame rates.
        time_base: seconds per tick of the frames' pts.
        frame_count: how many frames will come, estimated from the header; None if unknown.
        matrix, color_range, primaries, transfer: FFmpeg's numbers of ITU-T H.273 tags.
        sample_aspect_ratio: 0 when the stream does not say.
        display_matrix: nine integers that rotate or flip the picture for display, or None.
        interlaced: frames are two fields; some may not be.
        field_order: FFmpeg's AVFieldOrder, 0 when the stream does not say.
        hdr: static metadata of a stream in PQ or HLG.
        dynamic_hdr: names of metadata that changes from scene to scene.
        captions: closed captions (ATSC A/53) travel in the pictures.
    """

    width: int
    height: int
    layout: PixelLayout
    colour: Colour
    codec: str
    rate: Fraction
    time_base: Fraction
    frame_count: int | None
    matrix: int
    color_range: int
    primaries: int
    transfer: int
    sample_aspect_ratio: Fraction
    display_matrix: tuple[int, ...] | None
    interlaced: bool
    field_order: int
    hdr: StaticHdr
    dynamic_hdr: tuple[str, ...]
    captions: bool

    @property
    def orientation(self) -> Orientation:
        """How players turn the picture."""
        return Orientation.from_matrix(self.display_matrix)


def video_info(
    picture: av.VideoFrame, stream: av.VideoStream, frame_count: int | None
) -> VideoInfo:
    """Describe `stream` by its first decoded picture, which knows what headers leave open.

    Raises:
        InputError: the pixel format, colour matrix or transfer is not supported, or the
            stream has transparency that its decoder does not hand out.
    """
    layout = pixel_layout(planar_name(picture.format.name))
    if stream.metadata.get("alpha_mode") == "1" and not layout.alpha:
        raise InputError(
            f"the transparency of this {stream.codec_context.codec.canonical_name} video cannot "
            "be read: convert it to ProRes 4444 or FFV1 first"
        )
    full_range = picture.color_range == FULL_RANGE or picture.format.name.startswith("yuvj")
    return VideoInfo(
        width=picture.width,
        height=picture.height,
        layout=layout,
        colour=Colour.from_tags(picture.colorspace, full_range, picture.height, picture.color_trc),
        codec=stream.codec_context.codec.canonical_name,
        rate=average_rate(stream),
        time_base=Fraction(stream.time_base or DEFAULT_TIME_BASE),
        frame_count=frame_count,
        matrix=picture.colorspace,
        color_range=FULL_RANGE if full_range else picture.color_range,
        primaries=picture.color_primaries,
        transfer=picture.color_trc,
        # The container may say what the codec cannot.
        sample_aspect_ratio=Fraction(stream.sample_aspect_ratio or 0),
        display_matrix=_display_matrix(picture),
        interlaced=picture.interlaced_frame,
        field_order=stream.codec_context.field_order,
        hdr=static_hdr(picture),
        dynamic_hdr=tuple(dynamic_hdr(picture)),
        captions="A53_CC" in side_data(picture),
    )


def average_rate(stream: av.VideoStream) -> Fraction:
    """Frames per second, 25 where the stream does not say."""
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _display_matrix(picture: av.VideoFrame) -> tuple[int, ...] | None:
    carried = side_data(picture)
    if "DISPLAYMATRIX" not in carried:
        return None
    return tuple(int(v) for v in np.frombuffer(bytes(carried["DISPLAYMATRIX"]), np.int32))
