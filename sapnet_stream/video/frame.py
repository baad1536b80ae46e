"""One decoded picture as planes of samples, with its time and its colours."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from sapnet_stream.errors import InputError
from sapnet_stream.video.orientation import AS_STORED, Orientation

if TYPE_CHECKING:
    from av import VideoFrame

# ITU-T H.273 table 4, by FFmpeg's AVColorSpace number: (Kr, Kb) of R'G'B' -> Y'CbCr.
LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC 73.682
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020 non-constant luminance
    10: (0.2627, 0.0593),  # BT.2020 constant luminance, whose small signals agree with 9
}
UNTAGGED_MATRICES = (0, 2, 3)  # RGB (meaningless for planes of Y'CbCr), unspecified, reserved
BT709, BT601 = 1, 6
HD_LINES = 720

# ITU-T H.273 table 3. The others are gammas much alike, or HLG (18), made to be seen as one.
PQ = 16
UNSUITABLE_TRANSFERS = {8: "linear", 9: "logarithmic", 10: "logarithmic", 17: "SMPTE ST 428-1"}


@dataclass(frozen=True)
class PixelLayout:
    """Where a picture's samples are: planes of 8 to 16 bit, chroma perhaps smaller.

    Attributes:
        name: FFmpeg's name of the pixel format, planar and little-endian.
        model: planes are Y', Cb, Cr ("yuv"), G, B, R ("rgb"), or Y' alone ("gray").
        bits: per sample; planes of 9 bits and more are uint16.
        chroma_rows: luma rows per chroma row, 1, 2 or 4.
        chroma_columns: luma columns per chroma column, 1, 2 or 4.
        alpha: a last plane, as large as the first, says how opaque each sample is.
    """

    name: str
    model: Literal["yuv", "rgb", "gray"]
    bits: int
    chroma_rows: int = 1
    chroma_columns: int = 1
    alpha: bool = False

    def plane_shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(rows, columns) of each plane of a picture of `height` x `width`."""
        if self.model == "gray":
            return [(height, width)]
        # Odd sizes: FFmpeg rounds chroma up.
        chroma = (-(-height // self.chroma_rows), -(-width // self.chroma_columns))
        return [(height, width), chroma, chroma, *[(height, width)] * self.alpha]


_SUBSAMPLING = {"420": (2, 2), "422": (1, 2), "444": (1, 1), "440": (2, 1), "411": (1, 4)}
_SUBSAMPLING["410"] = (4, 4)
_PLANAR_YUV = re.compile(r"yuv(a?)(420|422|444|440|411|410)p(\d*)(?:le)?")
_PLANAR_RGB = re.compile(r"gbr(a?)p(\d*)(?:le)?")
_GRAY = re.compile(r"gray(\d*)(?:le)?")

# Formats with the same samples in another order; repacking them loses nothing.
PLANAR_TWINS = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv20le": "yuv422p10le",
    "nv24": "yuv444p",
    "nv42": "yuv444p",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "p212le": "yuv422p12le",
    "p216le": "yuv422p16le",
    "p410le": "yuv444p10le",
    "p412le": "yuv444p12le",
    "p416le": "yuv444p16le",
    "yuyv422": "yuv422p",
    "yvyu422": "yuv422p",
    "uyvy422": "yuv422p",
    "y210le": "yuv422p10le",
    "y212le": "yuv422p12le",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "x2rgb10le": "gbrp10le",
    "x2bgr10le": "gbrp10le",
    "rgb48le": "gbrp16le",
    "bgr48le": "gbrp16le",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "argb": "gbrap",
    "abgr": "gbrap",
    "rgba64le": "gbrap16le",
    "bgra64le": "gbrap16le",
    "vuya": "yuva444p",
    "vuyx": "yuv444p",
    "ayuv64le": "yuva444p16le",
    "monob": "gray",
    "monow": "gray",
}


def planar_name(pixel_format: str) -> str:
    """The planar little-endian format that holds the samples of `pixel_format`.

    Raises:
        InputError: the format has a palette, gray with alpha, or samples that are no integers.
    """
    # yuvj differs from yuv by its range alone, which `Colour` keeps.
    name = re.sub("be$", "le", pixel_format).replace("yuvj", "yuv")
    name = PLANAR_TWINS.get(name, name)
    if is_planar(name):
        return name
    raise InputError(
        f"pixel format {pixel_format} cannot be derained without losing part of it: "
        "convert the video to yuv420p, yuv444p10le or another planar format of integers first"
    )


def is_planar(name: str) -> bool:
    """Whether `pixel_layout` knows the format: planes of integers."""
    return any(p.fullmatch(name) for p in (_PLANAR_YUV, _PLANAR_RGB, _GRAY))


def pixel_layout(name: str) -> PixelLayout:
    """The layout of a format that `is_planar`."""
    if match := _PLANAR_YUV.fullmatch(name):
        rows, columns = _SUBSAMPLING[match[2]]
        return PixelLayout(name, "yuv", int(match[3] or 8), rows, columns, bool(match[1]))
    if match := _PLANAR_RGB.fullmatch(name):
        return PixelLayout(name, "rgb", int(match[2] or 8), alpha=bool(match[1]))
    if match := _GRAY.fullmatch(name):
        return PixelLayout(name, "gray", int(match[1] or 8))
    raise ValueError(f"{name} is not a planar format of integers")


def assumed_matrix(height: int) -> int:
    """What players take an untagged picture of Y'CbCr for, FFmpeg's AVColorSpace."""
    return BT709 if height >= HD_LINES else BT601


@dataclass(frozen=True)
class Colour:
    """How samples stand for R'G'B': matrix, range and transfer of ITU-T H.273.

    Attributes:
        kr: weight of R' in Y'.
        kb: weight of B' in Y'.
        full_range: black and white are the lowest and highest code, not 16 and 235 (times
            2 to the power of bits - 8).
        pq: R'G'B' is light up to 10,000 cd/m² by SMPTE ST 2084, not a gamma.
    """

    kr: float
    kb: float
    full_range: bool
    pq: bool = False

    @classmethod
    def from_tags(cls, matrix: int, full_range: bool, height: int, transfer: int = 2) -> "Colour":
        """The colour meant by a stream's tags.

        Args:
            matrix: FFmpeg's AVColorSpace; untagged is BT.709 from 720 lines on, as players
                assume, and BT.601 below.
            full_range: the stream says so, or its pixel format is a yuvj one.
            height: in pixels.
            transfer: FFmpeg's AVColorTransferCharacteristic, 2 when untagged.

        Raises:
            InputError: the matrix is none of the linear ones (YCgCo, ICtCp, ...), or the
                transfer is so unlike the eye's that a network for photographs sees nothing.
        """
        if matrix in UNTAGGED_MATRICES:
            matrix = assumed_matrix(height)
        if matrix not in LUMA_WEIGHTS:
            raise InputError(
                f"colour matrix number {matrix} of ITU-T H.273 is not supported: "
                "convert the video to BT.601, BT.709 or BT.2020 first"
            )
        if transfer in UNSUITABLE_TRANSFERS:
            raise InputError(
                f"{UNSUITABLE_TRANSFERS[transfer]} light (transfer number {transfer} of ITU-T "
                "H.273) is not supported: convert the video to BT.709, PQ or HLG first"
            )
        return cls(*LUMA_WEIGHTS[matrix], full_range, pq=transfer == PQ)


@dataclass(frozen=True)
class Frame:
    """One picture on its way from decoder to encoder.

    Attributes:
        planes: [rows, columns] each, uint8 or uint16, as `layout` says; never written to.
        layout: what the planes hold.
        colour: how they stand for R'G'B'.
        pts: presentation time in units of `time_base`.
        time_base: seconds.
        duration: in units of `time_base`, 0 when unknown.
        keyframe: the source could be cut here.
        interlaced: even and odd rows are two fields, of two moments.
        orientation: how players turn the planes for display.
        damaged: packets and frames of the source that were broken, since the frame before.
        retimed: frames whose time was missing or not after the previous one's, likewise.
        picture: the decoded one, whose captions, timecode and field order the encoder hands
            on by painting over it; None for a frame from elsewhere.
    """

    planes: tuple[Tensor, ...]
    layout: PixelLayout
    colour: Colour
    pts: int
    time_base: Fraction
    duration: int = 0
    keyframe: bool = False
    interlaced: bool = False
    orientation: Orientation = AS_STORED
    damaged: int = 0
    retimed: int = 0
    picture: "VideoFrame | None" = None

    @property
    def height(self) -> int:
        return int(self.planes[0].shape[0])

    @property
    def width(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def colour_planes(self) -> tuple[Tensor, ...]:
        """All planes but alpha."""
        return self.planes[: len(self.planes) - self.layout.alpha]

    @property
    def seconds(self) -> float:
        """Presentation time."""
        return float(self.pts * self.time_base)

    def with_planes(self, planes: tuple[Tensor, ...]) -> "Frame":
        """The same moment and colours with other samples."""
        return replace(self, planes=planes)

    def detached(self) -> "Frame":
        """A copy that needs nothing of the decoder's."""
        return replace(self, planes=tuple(plane.clone() for plane in self.planes), picture=None)
