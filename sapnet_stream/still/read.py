"""Image files into samples and metadata, by Pillow; nothing that is not an image gets through."""

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFile, JpegImagePlugin

from sapnet_stream.errors import InputError
from sapnet_stream.still.exif import without_thumbnail
from sapnet_stream.still.packed import decode_16_bit
from sapnet_stream.still.png import kept_chunks
from sapnet_stream.still.still import JpegCoding, Metadata, Samples, Still
from sapnet_stream.video.orientation import AS_STORED, Orientation

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
ORIENTATION = 0x0112
# EXIF 2.3, 4.6.4: what its tag means; anything else is as stored.
_ORIENTATIONS: dict[Any, Orientation] = {
    2: Orientation(0, True),
    3: Orientation(2),
    4: Orientation(2, True),
    5: Orientation(3, True),
    6: Orientation(3),
    7: Orientation(1, True),
    8: Orientation(1),
}
MOST_DOTS_PER_INCH = 100_000
# What Pillow's readers raise on damaged files; MemoryError where a header promises too much.
_BROKEN = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError),
    *(struct.error, zlib.error, MemoryError),
)
# Pillow's mode to the one that holds its samples; with transparency, alpha is added.
_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}
_WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}
# Tags of a TIFF below the private ones that describe the picture, not where its samples are.
_DESCRIPTIVE = (269, 270, 271, 272, ORIENTATION, 282, 283, 285, 296, 305, 306, 315, 316)
_PRIVATE = 32768
_WIDTH, _HEIGHT, _BITS_PER_SAMPLE, _PHOTOMETRIC, _EXTRA_SAMPLES = 256, 257, 258, 262, 338
_ICC, _PHOTOSHOP_LAYERS = 34675, 37724
_DIRECTORIES = (0x8769, 0x8825)
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"  # XMP part 3, 1.1.3.1


def read_still(path: Path, check_size: Callable[[int, int], None]) -> Still:
    """Read a PNG, JPEG, WebP, TIFF or BMP file, or a GIF of one picture.

    Args:
        path: of a file; its content, not its name, says what it is.
        check_size: told height and width before anything is decoded; may raise.

    Raises:
        InputError: in one sentence, why the file cannot be read or kept whole.
    """
    _check_source(path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with _broken_is_an_error(path), _opened(path) as image:
            width, height = image.size
            check_size(height, width)
            still = _read(path, image)
    texts = {str(w.message): None for w in said if issubclass(w.category, UserWarning)}
    complaints = (f"{path}: {text}" for text in texts)
    return Still(**{**vars(still), "warnings": (*still.warnings, *complaints)})


def _check_source(path: Path) -> None:
    # os.path takes names that no file can have for missing files, pathlib raises.
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path} is not a file: give an image file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: permission denied")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: give an image file")


@contextmanager
def _broken_is_an_error(path: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise InputError(
            f"{path} is not a PNG, JPEG, WebP, TIFF or BMP image, or it is damaged: "
            "try looking at it, or convert it"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """The image with nothing but its header read, whatever size that promises."""
    limit = Image.MAX_IMAGE_PIXELS
    # What a picture may take is said by `check_size`, from the memory there is.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _read(path: Path, image: ImageFile.ImageFile) -> Still:
    count = getattr(image, "n_frames", 1)
    extra: tuple[str, ...] = ()
    if image.format == "MPO":
        extra = (f"{path} holds {count} pictures: the first was derained, the others left out",)
    elif count > 1:
        raise InputError(
            f"{path} holds {count} pictures: convert an animation to a video, "
            "and pages to a file each"
        )
    file = path.read_bytes() if image.format in ("PNG", "TIFF") else b""
    if image.format != "TIFF":
        # Some of the metadata may be behind the pixels.
        image.load()
    orientation = _orientation(image)
    metadata = _metadata(image, file)
    bits = _bits(image, file)
    samples = _deep_samples(path, image, file, bits) if bits > 8 else _samples(path, image)
    if bits <= 8 and image.format == "TIFF":
        # Pillow turned it upright while it loaded.
        planes = torch.from_numpy(samples).permute(2, 0, 1)
        samples = orientation.stored(planes).permute(1, 2, 0).contiguous().numpy()
    return Still(
        samples=samples,
        orientation=orientation,
        metadata=metadata,
        lossy=image.format in ("JPEG", "MPO") or _is_lossy_webp(path, image),
        jpeg=_jpeg_coding(image),
        warnings=extra,
    )


def _bits(image: ImageFile.ImageFile, file: bytes) -> int:
    """Per sample in the file; Pillow's modes do not tell."""
    if image.format == "PNG":
        return file[24]
    if image.format == "TIFF":
        return int(max(_tags(image).get(_BITS_PER_SAMPLE, (1,))))
    return 8


def _samples(path: Path, image: ImageFile.ImageFile) -> Samples:
    mode = _MODES.get(image.mode)
    if mode is None:
        raise _refusal(path, image, 8)
    image.load()
    if image.has_transparency_data:
        mode = _WITH_ALPHA.get(mode, mode)
    pixels = image if image.mode == mode else image.convert(mode)
    samples = np.array(pixels, dtype=np.uint8)
    return samples.reshape(image.height, image.width, -1)


def _deep_samples(path: Path, image: ImageFile.ImageFile, file: bytes, bits: int) -> Samples:
    tags = _tags(image)
    plain = tags.get(_PHOTOMETRIC, 1) in (1, 2) and 1 not in tags.get(_EXTRA_SAMPLES, ())
    if bits != 16 or not plain or image.mode not in ("I;16", "I;16B", "RGB", "RGBA", "LA"):
        raise _refusal(path, image, bits)
    if image.format == "PNG":
        return decode_16_bit("png", file, image.width, image.height)
    # Pillow's own size is that of the picture turned upright.
    return decode_16_bit("tiff", file, tags[_WIDTH], tags[_HEIGHT])


def _refusal(path: Path, image: ImageFile.ImageFile, bits: int) -> InputError:
    return InputError(
        f"{path} has samples of {bits} bits in Pillow's mode {image.mode}, which cannot be kept: "
        "convert it to gray or RGB of 8 or 16 bits first"
    )


def _metadata(image: ImageFile.ImageFile, file: bytes) -> Metadata:
    info = image.info
    return Metadata(
        exif=_exif(image),
        icc=info.get("icc_profile") or b"",
        xmp=_bytes(info.get("xmp", b"")),
        extended_xmp=_segments(image, "APP1", EXTENDED_XMP),
        iptc=_segments(image, "APP13"),
        comment=_bytes(info.get("comment", b"")),
        dots_per_inch=_dots_per_inch(info.get("dpi")),
        png_chunks=kept_chunks(file) if image.format == "PNG" else (),
    )


def _dots_per_inch(dots: tuple[float, float] | None) -> tuple[float, float] | None:
    # A file's fraction may have no value, or one that no other format can hold.
    if dots is None or not all(0 < float(number) < MOST_DOTS_PER_INCH for number in dots):
        return None
    return float(dots[0]), float(dots[1])


def _exif(image: ImageFile.ImageFile) -> bytes:
    exif = image.info.get("exif") or b""
    if image.format == "TIFF":
        exif = _exif_of_tiff(image.getexif())
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        return without_thumbnail(exif) if exif else b""
    except ValueError:
        _warn_of_exif(image)
        return b""


def _orientation(image: ImageFile.ImageFile) -> Orientation:
    try:
        return _ORIENTATIONS.get(image.getexif().get(ORIENTATION), AS_STORED)
    except _BROKEN:
        _warn_of_exif(image)
        # Nobody need read what Pillow cannot.
        image.info.pop("exif", None)
        return AS_STORED


def _warn_of_exif(image: ImageFile.ImageFile) -> None:
    # A PNG's chunks are copied as they are.
    fate = "only a PNG keeps it" if image.format == "PNG" else "it was left out"
    warnings.warn(f"its EXIF is damaged: {fate}", stacklevel=1)


def _exif_of_tiff(tags: Image.Exif) -> bytes:
    """What describes the picture, without what says where its samples are."""
    exif = Image.Exif()
    for tag, value in tags.items():
        if tag in _DIRECTORIES:
            exif[tag] = tags.get_ifd(tag)
        elif tag in _DESCRIPTIVE or (tag >= _PRIVATE and tag not in (_ICC, _PHOTOSHOP_LAYERS)):
            exif[tag] = value
    return exif.tobytes() if len(exif) else b""


def _segments(image: ImageFile.ImageFile, kind: str, head: bytes = b"") -> tuple[bytes, ...]:
    """Bodies of a JPEG's segments that begin with `head`."""
    segments: list[tuple[str, bytes]] = getattr(image, "applist", [])
    return tuple(body for name, body in segments if name == kind and body.startswith(head))


def _jpeg_coding(image: ImageFile.ImageFile) -> JpegCoding | None:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    subsampling = JpegImagePlugin.get_sampling(image)
    return JpegCoding(image.quantization, subsampling if subsampling >= 0 else None)


def _is_lossy_webp(path: Path, image: ImageFile.ImageFile) -> bool:
    return image.format == "WEBP" and b"VP8 " in _webp_chunks(path.read_bytes())


def _webp_chunks(file: bytes) -> Iterator[bytes]:
    """Kinds of its chunks (RFC 9649), in order."""
    place = 12
    while place + 8 <= len(file):
        kind, size = struct.unpack_from("<4sI", file, place)
        yield kind
        # One frame of an animation has chunks of its own, behind sixteen bytes.
        place += 24 if kind == b"ANMF" else 8 + size + size % 2


def _tags(image: ImageFile.ImageFile) -> dict[int, Any]:
    return dict(getattr(image, "tag_v2", {}))


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
