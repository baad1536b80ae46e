"""PNG files by their chunks (ISO/IEC 15948): pixels made here, all else as it was."""

import struct
import zlib
from collections.abc import Iterator

from sapnet_stream.still.packed import encode_png
from sapnet_stream.still.still import Metadata, Samples

MAGIC = b"\x89PNG\r\n\x1a\n"
METRES_PER_INCH = 0.0254
# They describe the file and its colours, whatever the samples; not those that depend on the
# colour type or belong to an animation.
_KEPT = (
    *(b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"pHYs", b"oFFs", b"tIME"),
    *(b"tEXt", b"zTXt", b"iTXt", b"eXIf"),
)
# What tags say of sRGB; it has no light levels.
_SRGB = {
    b"cICP": bytes((1, 13, 0, 1)),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"mDCV": b"",
    b"cLLI": b"",
}


def chunks_of(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and body of each chunk, in order.

    Raises:
        ValueError: the file is cut short.
    """
    place = len(MAGIC)
    while place < len(file):
        try:
            length, kind = struct.unpack_from(">I4s", file, place)
        except struct.error as error:
            raise ValueError("a PNG that is cut short") from error
        yield kind, file[place + 8 : place + 8 + length]
        place += length + 12


def kept_chunks(file: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """What a PNG says beside its samples, private chunks included that allow it."""
    return tuple(
        (kind, body)
        for kind, body in chunks_of(file)
        if kind in _KEPT or (kind[1:2].islower() and kind[3:4].islower())
    )


def has_colour_tags(chunks: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Whether chunks say, without a colour profile, that colours are not those of sRGB.

    ISO/IEC 15948: sRGB overrides gAMA and cHRM, cICP overrides all.
    """
    tags = dict(chunks)
    overridden = (b"gAMA", b"cHRM") if b"sRGB" in tags or b"cICP" in tags else ()
    return any(
        kind in tags and tags[kind] != body
        for kind, body in _SRGB.items()
        if kind not in overridden
    )


def write_png(samples: Samples, metadata: Metadata) -> bytes:
    """The file: [H, W, C] samples, uint8 or uint16, and all metadata."""
    header, *pixels = (
        chunk for chunk in chunks_of(encode_png(samples)) if chunk[0] in (b"IHDR", b"IDAT")
    )
    said = metadata.png_chunks or _chunks(metadata)
    every = (header, *said, *pixels, (b"IEND", b""))
    return MAGIC + b"".join(_packed(kind, body) for kind, body in every)


def _chunks(metadata: Metadata) -> tuple[tuple[bytes, bytes], ...]:
    """What another format's metadata is as chunks."""
    chunks = []
    if metadata.icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dots_per_inch:
        per_metre = (round(dots / METRES_PER_INCH) for dots in metadata.dots_per_inch)
        chunks.append((b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp))
    if metadata.comment:
        chunks.append((b"iTXt", b"Comment\0\0\0\0\0" + _utf8(metadata.comment)))
    return tuple(chunks)


def _utf8(text: bytes) -> bytes:
    """A comment's text, whose encoding nobody says."""
    try:
        return text.decode().encode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()


def _packed(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
