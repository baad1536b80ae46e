"""A finished file read back: does it hold what was planned?"""

from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

from sapnet_stream.errors import InputError, OutputError
from sapnet_stream.video.codec import EncoderPlan
from sapnet_stream.video.container import find_video, open_input
from sapnet_stream.video.frame import PixelLayout, pixel_layout, planar_name
from sapnet_stream.video.hdr import MasteringDisplay, StaticHdr
from sapnet_stream.video.info import FIRST_PICTURES, FULL_RANGE, VideoInfo, video_info

# "Unspecified" promises nothing, and limited range is what it means.
UNSPECIFIED = 2
AS_STORED = (1 << 16, 0, 0, 0, 1 << 16)
TOLERANCE = Fraction(1, 500)


def verify_written(path: Path, plan: EncoderPlan, info: VideoInfo) -> list[str]:
    """Compare a finished file with what it was to say.

    Args:
        path: of the finished file.
        plan: what it was written with.
        info: what its video was to say of itself.

    Returns:
        A sentence that names the tags which container or codec could not hold, or nothing.

    Raises:
        OutputError: the file cannot be read back, or codec, pixel format or size are wrong.
    """
    try:
        written = _read_back(path)
    except InputError as error:
        raise OutputError(f"the output was written but cannot be read back: {error}") from error
    planned = pixel_layout(planar_name(plan.pixel_format))
    for name, got, wanted, same in (
        ("codec", written.codec, plan.codec, written.codec == plan.codec),
        ("pixel format", written.layout.name, planned.name, _holds(written.layout, planned)),
        ("width", written.width, info.width, written.width == info.width),
        ("height", written.height, info.height, written.height == info.height),
    ):
        if not same:
            raise OutputError(f"the output has {name} {got}, not {wanted}: choose another --codec")
    lost = _lost(written, plan, info)
    if not lost:
        return []
    return [
        f"the output does not say the source's {', '.join(lost)}: {path.suffix} files with "
        f"{plan.codec} cannot hold that, another container or --codec may"
    ]


def _read_back(path: Path) -> VideoInfo:
    with open_input(path) as container:
        stream = find_video(container, path)
        pictures = container.decode(stream)
        for picture in pictures:
            info = video_info(picture, stream, None)
            rest = islice(pictures, FIRST_PICTURES - 1)
            interlaced = info.interlaced or any(other.interlaced_frame for other in rest)
            return replace(info, interlaced=interlaced)
    raise InputError("it has no picture")


def _holds(written: PixelLayout, planned: PixelLayout) -> bool:
    """Whether a reader's layout is that, or more.

    ProRes 4444 is read with 12 bit whatever was written, and gray H.264 of 10 bit as 4:2:0.
    """
    if planned.model == "gray" and written.model == "yuv":
        return written.bits >= planned.bits
    shapes = [(x.model, x.chroma_rows, x.chroma_columns, x.alpha) for x in (written, planned)]
    return shapes[0] == shapes[1] and written.bits >= planned.bits


def _lost(written: VideoInfo, plan: EncoderPlan, info: VideoInfo) -> list[str]:
    """Names of the tags that the source has and the file has not."""
    rgb = written.layout.model == "rgb"
    full = plan.color_range == FULL_RANGE
    kept = {
        "colour matrix": rgb or plan.matrix in (UNSPECIFIED, written.matrix),
        "colour range": rgb or full == written.colour.full_range,
        "colour primaries": info.primaries in (UNSPECIFIED, written.primaries),
        "transfer": info.transfer in (UNSPECIFIED, written.transfer),
        "sample aspect ratio": (info.sample_aspect_ratio or 1)
        == (written.sample_aspect_ratio or 1),
        "rotation": _same_turn(written.display_matrix, info.display_matrix),
        "interlacing": written.interlaced == info.interlaced,
        "closed captions": written.captions or not info.captions,
        "mastering display": _mastering_kept(written.hdr, info.hdr),
        "content light level": info.hdr.content_light in (None, written.hdr.content_light),
    }
    lost = [name for name, same in kept.items() if not same]
    return lost + [name for name in info.dynamic_hdr if name not in written.dynamic_hdr]


def _same_turn(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> bool:
    """Whether two display matrices turn and scale alike; nobody heeds where they move to."""
    pairs = zip((one or AS_STORED)[:5], (other or AS_STORED)[:5], strict=True)
    return all(abs(a - b) <= TOLERANCE * (1 << 16) for a, b in pairs)


def _mastering_kept(written: StaticHdr, source: StaticHdr) -> bool:
    """AV1 and HEVC round to steps of their own."""
    if source.mastering is None:
        return True
    if written.mastering is None:
        return False
    pairs = zip(_numbers(written.mastering), _numbers(source.mastering), strict=True)
    return all(abs(a - b) <= TOLERANCE * max(Fraction(1), b) for a, b in pairs)


def _numbers(display: MasteringDisplay) -> tuple[Fraction, ...]:
    return (*display.primaries, *display.luminance)
