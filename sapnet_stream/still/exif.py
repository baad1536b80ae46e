"""EXIF as bytes: a TIFF structure, changed in place so that every other byte stays."""

import struct
from dataclasses import dataclass

ENTRY_BYTES = 12
_ORDERS = {b"II": "<", b"MM": ">"}


@dataclass(frozen=True)
class Directory:
    """The first directory of a TIFF structure.

    Attributes:
        order: of bytes, as `struct` writes it.
        entries: tag to its twelve bytes.
        next_offset: where the structure says where the next directory is.
    """

    order: str
    entries: dict[int, bytes]
    next_offset: int


def read_directory(exif: bytes) -> Directory:
    """Raises ValueError for what is no TIFF structure."""
    order = _ORDERS.get(exif[:2])
    if order is None:
        raise ValueError("no byte order")
    try:
        magic, offset = struct.unpack_from(f"{order}HI", exif, 2)
        (count,) = struct.unpack_from(f"{order}H", exif, offset)
        if magic != 42:
            raise ValueError("not a TIFF structure")
        begin = offset + 2
        next_offset = begin + count * ENTRY_BYTES
        struct.unpack_from(f"{order}I", exif, next_offset)
    except struct.error as error:
        raise ValueError("cut short") from error
    records = (
        exif[place : place + ENTRY_BYTES] for place in range(begin, next_offset, ENTRY_BYTES)
    )
    entries = {struct.unpack_from(f"{order}H", record)[0]: record for record in records}
    return Directory(order, entries, next_offset)


def without_thumbnail(exif: bytes) -> bytes:
    """The same without its second directory: a small picture of what is no longer shown."""
    directory = read_directory(exif)
    kept = bytearray(exif)
    kept[directory.next_offset : directory.next_offset + 4] = bytes(4)
    return bytes(kept)
