"""One still image: its samples and what its file says beside them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sapnet_stream.video.orientation import AS_STORED, Orientation

Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its samples; empty where it says nothing.

    Attributes:
        exif: as a TIFF structure, without thumbnail.
        icc: colour profile.
        xmp: Adobe's XML.
        extended_xmp: body of a JPEG's APP1 segments of XMP that one could not hold.
        iptc: body of a JPEG's APP13 segments.
        comment: of a JPEG or GIF.
        dots_per_inch: horizontally and vertically.
        png_chunks: type and body of a PNG's ancillary chunks, all of the above among them.
    """

    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    extended_xmp: tuple[bytes, ...] = ()
    iptc: tuple[bytes, ...] = ()
    comment: bytes = b""
    dots_per_inch: tuple[float, float] | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class JpegCoding:
    """How a JPEG was quantised.

    Attributes:
        tables: 64 steps each, as Pillow takes them.
        subsampling: Pillow's number, None for gray.
    """

    tables: dict[int, list[int]]
    subsampling: int | None


@dataclass(frozen=True)
class Still:
    """A still image.

    Attributes:
        samples: [H, W, C], C of gray, gray and alpha, RGB, or RGB and alpha; uint8 or uint16.
        orientation: how they are turned to be seen.
        metadata: to be written again.
        lossy: the file did not store exactly these samples.
        jpeg: how it stored them, if it was a JPEG.
        warnings: sentences on what of the file was not read.
    """

    samples: Samples
    orientation: Orientation = AS_STORED
    metadata: Metadata = Metadata()
    lossy: bool = False
    jpeg: JpegCoding | None = None
    warnings: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        return 8 * self.samples.itemsize

    @property
    def has_alpha(self) -> bool:
        return self.samples.shape[2] in (2, 4)
