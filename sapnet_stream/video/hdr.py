"""What a stream says of the display it was graded on and how bright it gets.

Static metadata: SMPTE ST 2086 (mastering display) and CTA-861.3 (content light level).
"""

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from sapnet_stream.video.picture import side_data

# Metadata that changes from scene to scene, which few encoders write.
DYNAMIC = {
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
}


@dataclass(frozen=True)
class MasteringDisplay:
    """SMPTE ST 2086.

    Attributes:
        primaries: CIE 1931 x and y of red, green, blue and white, eight numbers.
        luminance: darkest and brightest, cd/m².
    """

    primaries: tuple[Fraction, ...]
    luminance: tuple[Fraction, Fraction]


@dataclass(frozen=True)
class StaticHdr:
    """Either may be missing.

    Attributes:
        mastering: the display the video was graded on.
        content_light: brightest sample, and brightest frame on average (MaxCLL, MaxFALL), cd/m².
    """

    mastering: MasteringDisplay | None = None
    content_light: tuple[int, int] | None = None

    def __bool__(self) -> bool:
        return self.mastering is not None or self.content_light is not None

    def x265_params(self) -> str:
        """As x265 takes them: chromaticity in 1/50,000, luminance in 1/10,000 cd/m²."""
        parts = []
        if self.mastering is not None:
            red, green, blue, white = self._points(lambda xy: f"{round(xy * 50_000)}")
            dark, bright = (round(value * 10_000) for value in self.mastering.luminance)
            parts.append(f"master-display=G{green}B{blue}R{red}WP{white}L({bright},{dark})")
        if self.content_light is not None:
            parts.append("max-cll={},{}".format(*self.content_light))
        return ":".join(parts)

    def svtav1_params(self) -> str:
        """As SVT-AV1 takes them: plain numbers."""
        parts = []
        if self.mastering is not None:
            red, green, blue, white = self._points(lambda xy: f"{float(xy):.5f}")
            dark, bright = (f"{float(value):.4f}" for value in self.mastering.luminance)
            parts.append(f"mastering-display=G{green}B{blue}R{red}WP{white}L({bright},{dark})")
        if self.content_light is not None:
            parts.append("content-light={},{}".format(*self.content_light))
        return ":".join(parts)

    def _points(self, number: Any) -> list[str]:
        assert self.mastering is not None
        texts = [number(value) for value in self.mastering.primaries]
        return [f"({x},{y})" for x, y in zip(texts[::2], texts[1::2], strict=True)]


def static_hdr(picture: av.VideoFrame) -> StaticHdr:
    """What a decoded picture carries, from its container or its bitstream."""
    carried = side_data(picture)
    mastering = content_light = None
    if "MASTERING_DISPLAY_METADATA" in carried:
        mastering = _mastering(bytes(carried["MASTERING_DISPLAY_METADATA"]))
    if "CONTENT_LIGHT_LEVEL" in carried:
        content_light = struct.unpack("2I", bytes(carried["CONTENT_LIGHT_LEVEL"]))
    return StaticHdr(mastering, content_light)


def dynamic_hdr(picture: av.VideoFrame) -> list[str]:
    """Names of the metadata that changes from scene to scene."""
    carried = side_data(picture)
    return sorted({name for key, name in DYNAMIC.items() if key in carried})


def _mastering(data: bytes) -> MasteringDisplay | None:
    """FFmpeg's AVMasteringDisplayMetadata: ten rationals and two flags, 32 bit each."""
    numbers = struct.unpack_from("22i", data)
    rationals = [Fraction(n, d or 1) for n, d in zip(numbers[:20:2], numbers[1:20:2], strict=True)]
    has_primaries, has_luminance = numbers[20:]
    if not has_primaries or not has_luminance:
        return None
    return MasteringDisplay(tuple(rationals[:8]), (rationals[8], rationals[9]))
