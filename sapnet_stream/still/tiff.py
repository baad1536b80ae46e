"""A TIFF file of 8 or 16 bits per sample, with EXIF as it was (TIFF revision 6.0)."""

import struct
import zlib

from sapnet_stream.still.exif import read_directory
from sapnet_stream.still.still import Metadata, Samples

SHORT, LONG, RATIONAL, UNDEFINED = 3, 4, 5, 7
_CODES = {SHORT: "H", LONG: "I", RATIONAL: "I", UNDEFINED: "B"}
# A directory without entries at byte 8.
_EMPTY = b"II*\0\x08\0\0\0" + bytes(6)
Field = tuple[int, tuple[int, ...] | bytes]


def encode_tiff(samples: Samples, metadata: Metadata) -> bytes:
    """The file, deflated with horizontal differences.

    EXIF comes first, where all its offsets hold, then the pixels, then a directory that has
    the entries of both.

    Args:
        samples: [H, W, C] uint8 or uint16.
        metadata: its EXIF, ICC, XMP and resolution are written.

    Raises:
        ValueError: the EXIF is damaged.
    """
    exif = metadata.exif or _EMPTY
    directory = read_directory(exif)
    order = directory.order
    body = bytearray(exif)
    body += bytes(len(body) % 2)
    height, width, channels = samples.shape
    pixels = _compressed(samples, order)
    bits = 8 * samples.itemsize
    fields: dict[int, Field] = {
        256: (LONG, (width,)),
        257: (LONG, (height,)),
        258: (SHORT, (bits,) * channels),
        259: (SHORT, (8,)),  # Deflate
        262: (SHORT, (2 if channels > 2 else 1,)),  # RGB, or black is zero
        273: (LONG, (len(body),)),
        277: (SHORT, (channels,)),
        278: (LONG, (height,)),
        279: (LONG, (len(pixels),)),
        284: (SHORT, (1,)),  # samples of a pixel side by side
        317: (SHORT, (2,)),  # horizontal differences
    }
    if channels in (2, 4):
        fields[338] = (SHORT, (2,))  # alpha, colours not multiplied by it
    if metadata.icc:
        fields[34675] = (UNDEFINED, metadata.icc)
    if metadata.xmp:
        fields[700] = (UNDEFINED, metadata.xmp)
    if metadata.dots_per_inch:
        across, down = (round(dots * 10_000) for dots in metadata.dots_per_inch)
        fields |= {282: (RATIONAL, (across, 10_000)), 283: (RATIONAL, (down, 10_000))}
        fields[296] = (SHORT, (2,))  # per inch
    body += pixels + bytes(len(pixels) % 2)
    entries = dict(directory.entries)
    for tag, field in fields.items():
        entries[tag] = _entry(tag, field, order, body)
    struct.pack_into(f"{order}I", body, 4, len(body))
    body += struct.pack(f"{order}H", len(entries))
    body += b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return bytes(body)


def _compressed(samples: Samples, order: str) -> bytes:
    # Unsigned differences wrap around, as the format wants them.
    steps = samples.copy()
    steps[:, 1:] -= samples[:, :-1]
    return zlib.compress(steps.astype(f"{order}u{samples.itemsize}").tobytes())


def _entry(tag: int, field: Field, order: str, body: bytearray) -> bytes:
    """An entry's twelve bytes; what does not fit goes to the end of `body`."""
    kind, values = field
    data = struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
    count = len(values) // 2 if kind == RATIONAL else len(values)
    head = struct.pack(f"{order}HHI", tag, kind, count)
    if len(data) <= 4:
        return head + data.ljust(4, b"\0")
    place = len(body)
    body += data + bytes(len(data) % 2)
    return head + struct.pack(f"{order}I", place)
