"""Samples and metadata into image files, each format as little lossy as it can be."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from sapnet_stream.errors import OutputError
from sapnet_stream.still.png import has_colour_tags, write_png
from sapnet_stream.still.still import JpegCoding, Metadata, Still
from sapnet_stream.still.tiff import encode_tiff
from sapnet_stream.video.orientation import AS_STORED

SEGMENT_BYTES = 65_533
XMP = b"http://ns.adobe.com/xap/1.0/\0"
QUALITY = 95
OPAQUE = (".jpg", ".jpeg", ".bmp")


def encode_still(still: Still, path: Path) -> tuple[bytes, list[str]]:
    """The file, and the kinds of metadata its format cannot hold.

    PNG, TIFF and BMP are lossless; WebP is where the source was not lossy. JPEG is written
    with the source's own steps or at quality 95 without subsampling, whichever is nearer.

    Args:
        still: what to write.
        path: its ending names the format; see `IMAGE_ENDINGS`.

    Raises:
        OutputError: the format cannot hold such samples, or no format has this ending.
    """
    ending = check_ending(path)
    still = _without_idle_alpha(still, ending)
    if still.bits > 8 and ending not in (".png", ".tif", ".tiff"):
        raise OutputError(f"{path}: {ending} cannot hold 16 bits per sample: name it .png or .tif")
    if still.has_alpha and ending in OPAQUE:
        raise OutputError(f"{path}: {ending} cannot hold transparency: name it .png, .webp or .tif")
    encode, held = _ENCODERS[ending]
    metadata, left_out = _fitting(still.metadata, ending, held)
    still = replace(still, metadata=metadata)
    try:
        return encode(still if _says_orientation(still, ending) else _upright(still)), left_out
    except (OSError, ValueError) as error:
        height, width, _ = still.samples.shape
        raise OutputError(
            f"{path}: {ending} cannot hold this picture of {width}x{height} ({error}): "
            "name it .png or .tif"
        ) from error


def check_ending(path: Path) -> str:
    """The ending of an image's name, in small letters.

    Raises:
        OutputError: it names no format that is written.
    """
    ending = path.suffix.lower()
    if ending not in _ENCODERS:
        raise OutputError(
            f"{path}: the ending {path.suffix or '(none)'} names no image that is written: "
            "use .png, .tif, .webp, .jpg or .bmp"
        )
    return ending


def _without_idle_alpha(still: Still, ending: str) -> Still:
    """What cannot hold alpha loses nothing with one that hides nothing."""
    opaque = np.iinfo(still.samples.dtype).max
    if ending in OPAQUE and still.has_alpha and (still.samples[..., -1] == opaque).all():
        return replace(still, samples=still.samples[..., :-1])
    return still


def _fitting(metadata: Metadata, ending: str, held: tuple[str, ...]) -> tuple[Metadata, list[str]]:
    """What a format can hold of the metadata, and the names of what it cannot."""
    if ending == ".png" and metadata.png_chunks:
        return metadata, []
    most = SEGMENT_BYTES - 40 if ending in (".jpg", ".jpeg") else None
    left_out, empty = [], {}
    for name, words in _NAMES.items():
        value = getattr(metadata, name)
        too_long = most is not None and name in ("exif", "xmp") and len(value) > most
        if value and (name not in held or too_long):
            left_out.append(words)
            empty[name] = getattr(Metadata(), name)
    if not metadata.icc and has_colour_tags(metadata.png_chunks):
        left_out.append("colour tags")
    if any(kind in (b"tEXt", b"zTXt", b"iTXt") for kind, _ in metadata.png_chunks):
        left_out.append("text of the PNG")
    return replace(metadata, **empty), left_out


def _says_orientation(still: Still, ending: str) -> bool:
    """Whether what is left of the metadata turns the picture for display."""
    metadata = still.metadata
    if still.orientation == AS_STORED or (ending == ".png" and metadata.png_chunks):
        return True
    return bool(metadata.exif) or b"tiff:Orientation" in metadata.xmp


def _upright(still: Still) -> Still:
    stored = torch.from_numpy(still.samples).permute(2, 0, 1)
    samples = still.orientation.upright(stored).permute(1, 2, 0).contiguous().numpy()
    dots = still.metadata.dots_per_inch
    if dots and still.orientation.quarter_turns % 2:
        dots = dots[::-1]
    metadata = replace(still.metadata, dots_per_inch=dots)
    return replace(still, samples=samples, orientation=AS_STORED, metadata=metadata)


def _jpeg(still: Still) -> bytes:
    picture = _picture(still)
    metadata = still.metadata
    xmp = (XMP + metadata.xmp,) if metadata.xmp else ()
    said: dict[str, Any] = {
        "exif": b"Exif\0\0" + metadata.exif if metadata.exif else b"",
        "icc_profile": metadata.icc or None,
        "comment": metadata.comment,
        "dpi": metadata.dots_per_inch or (0, 0),
        "extra": _segments(b"\xff\xe1", (*xmp, *metadata.extended_xmp))
        + _segments(b"\xff\xed", metadata.iptc),
    }
    fine: dict[str, Any] = {"quality": QUALITY, "subsampling": 0}
    ways = [fine] if still.jpeg is None else [fine, _same_steps(still.jpeg)]
    files = [_saved(picture, "JPEG", **said, **way) for way in ways]
    return min(files, key=lambda file: _distance(picture, file))


def _segments(marker: bytes, bodies: tuple[bytes, ...]) -> bytes:
    return b"".join(marker + (len(body) + 2).to_bytes(2) + body for body in bodies)


def _same_steps(coding: JpegCoding) -> dict[str, Any]:
    way: dict[str, Any] = {"qtables": coding.tables}
    return way if coding.subsampling is None else {**way, "subsampling": coding.subsampling}


def _distance(picture: Image.Image, file: bytes) -> int:
    """Sum of squared differences of what a reader of the file will see."""
    with Image.open(io.BytesIO(file)) as image:
        steps = np.asarray(image).astype(np.int32) - np.asarray(picture)
    return int(np.sum(steps * steps, dtype=np.int64))


def _webp(still: Still) -> bytes:
    metadata = still.metadata
    return _saved(
        _picture(still, gray=False),
        "WEBP",
        lossless=not still.lossy,
        quality=QUALITY,
        exact=True,
        method=4,
        exif=metadata.exif,
        icc_profile=metadata.icc,
        xmp=metadata.xmp,
    )


def _bmp(still: Still) -> bytes:
    said = {"dpi": still.metadata.dots_per_inch} if still.metadata.dots_per_inch else {}
    return _saved(_picture(still), "BMP", **said)


def _png(still: Still) -> bytes:
    return write_png(still.samples, still.metadata)


def _tiff(still: Still) -> bytes:
    samples = still.samples
    if still.bits == 16 and samples.shape[2] == 2:
        # Gray with alpha that more than FFmpeg reads.
        samples = samples[..., [0, 0, 0, 1]]
    return encode_tiff(samples, still.metadata)


def _picture(still: Still, *, gray: bool = True) -> Image.Image:
    """Of 8 bits per sample; as RGB where the format has no gray."""
    samples = still.samples
    if samples.shape[2] == 1:
        samples = samples[..., 0]
    picture = Image.fromarray(np.ascontiguousarray(samples))
    return picture if gray else picture.convert("RGBA" if still.has_alpha else "RGB")


def _saved(picture: Image.Image, name: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.getvalue()


_NAMES = {
    "exif": "EXIF",
    "icc": "the colour profile",
    "xmp": "XMP",
    "extended_xmp": "extended XMP",
    "iptc": "IPTC",
    "comment": "the comment",
    "dots_per_inch": "the resolution",
}
_JPEG = (_jpeg, ("exif", "icc", "xmp", "extended_xmp", "iptc", "comment", "dots_per_inch"))
_TIFF = (_tiff, ("exif", "icc", "xmp", "dots_per_inch"))
# Ending to its function and the metadata it holds.
_ENCODERS: dict[str, tuple[Callable[[Still], bytes], tuple[str, ...]]] = {
    ".png": (_png, ("exif", "icc", "xmp", "comment", "dots_per_inch")),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": (_webp, ("exif", "icc", "xmp")),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": (_bmp, ("dots_per_inch",)),
}
IMAGE_ENDINGS = tuple(_ENCODERS)
"""Endings of the image files that are written."""
