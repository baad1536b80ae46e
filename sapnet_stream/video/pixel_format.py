"""The pixel format to encode in: the one asked for, or the nearest to the source's."""

from sapnet_stream.errors import InputError, OutputError, UsageError
from sapnet_stream.video.frame import PixelLayout, is_planar, pixel_layout, planar_name
from sapnet_stream.video.info import VideoInfo

# Their pictures are cropped in units of chroma samples, so 4:2:0 cannot have an odd size.
WHOLE_CHROMA_ONLY = ("h264", "hevc")


def choose_pixel_format(
    wanted: str | None, formats: list[str], info: VideoInfo, codec: str, *, alpha: bool
) -> str:
    """One of the encoder's pixel formats.

    Args:
        wanted: what the user asked for, or None for what loses least of the source.
        formats: FFmpeg's names of what the encoder takes.
        info: the source's layout and size.
        codec: FFmpeg's name of the codec's family.
        alpha: the encoder keeps transparency so that every reader finds it.

    Raises:
        UsageError: the encoder does not take the format that was asked for.
        OutputError: the source has transparency that the encoder cannot keep.
    """
    layouts = {
        # Planar formats first: among equals, the first is chosen.
        name: layout
        for name in sorted(formats, key=lambda name: not is_planar(name))
        if (layout := _layout(name)) is not None
        and (alpha or not layout.alpha)
        and (codec not in WHOLE_CHROMA_ONLY or _fits(info, layout))
    }
    if not layouts:
        raise OutputError(
            f"this encoder of {codec} takes no picture from memory at "
            f"{info.width}x{info.height}: choose another --codec"
        )
    if wanted is not None:
        if wanted not in layouts:
            raise UsageError(
                f"{codec} cannot hold --pix-fmt {wanted} at {info.width}x{info.height}: "
                f"choose from {', '.join(layouts)}"
            )
        return wanted
    nearest = min(layouts, key=lambda name: _loss(info.layout, layouts[name]))
    if info.layout.alpha and not layouts[nearest].alpha:
        raise OutputError(
            f"{codec} cannot keep the transparency of this video: choose --codec prores or "
            f"ffv1, or drop it with --pix-fmt {nearest}"
        )
    return nearest


def most_bits(formats: list[str]) -> int:
    """Of a sample in any of an encoder's pixel formats, by FFmpeg's names."""
    return max((layout.bits for name in formats if (layout := _layout(name))), default=0)


def losses(source: PixelLayout, pixel_format: str) -> list[str]:
    """What pictures lose on their way into an encoder's format, in words."""
    target = pixel_layout(planar_name(pixel_format))
    lost = []
    if target.bits < source.bits:
        lost.append(f"{source.bits} bits become {target.bits}")
    if source.model == "rgb" != target.model:
        lost.append("R'G'B' becomes Y'CbCr")
    if source.model != "gray" and (
        target.chroma_rows > source.chroma_rows or target.chroma_columns > source.chroma_columns
    ):
        lost.append("colour is stored more coarsely")
    return lost


def _layout(name: str) -> PixelLayout | None:
    """What an encoder's format holds; None if pictures cannot be made in it."""
    if name.startswith("yuvj"):
        # The range is a tag of its own.
        return None
    try:
        return pixel_layout(planar_name(name))
    except InputError:
        return None


def _fits(info: VideoInfo, layout: PixelLayout) -> bool:
    return info.width % layout.chroma_columns == info.height % layout.chroma_rows == 0


def _loss(source: PixelLayout, target: PixelLayout) -> tuple[int, ...]:
    """What `target` takes away, worst first; at last what it stores in vain."""
    gray = source.model == "gray"
    rows, columns = (4, 4) if gray else (source.chroma_rows, source.chroma_columns)
    return (
        source.alpha and not target.alpha,
        target.model == "gray" and not gray,
        max(0, source.bits - target.bits),
        source.model != target.model and "rgb" in (source.model, target.model),
        max(0, target.chroma_rows - rows),
        max(0, target.chroma_columns - columns),
        source.model != target.model,
        target.bits - source.bits,
        target.alpha and not source.alpha,
        -target.chroma_rows * target.chroma_columns,
    )
