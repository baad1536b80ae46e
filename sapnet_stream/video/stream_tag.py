"""Tags that a stream of a file carries beside its pictures, where PyAV has no way to set them.

A muxer writes a mastering display and light levels from the stream's side data, which PyAV
hands on from one stream to another but cannot make. So a Matroska file without a picture is
made in memory, whose one stream has them, and they are taken over from there.
"""

import io
import struct

import av
import av.container
from av.bitstream import BitStreamFilterContext

from sapnet_stream.video.hdr import StaticHdr

# Matroska's names of the codecs that are written (RFC 9559 and its codec mappings).
_CODEC_IDS = {
    "h264": b"V_MPEG4/ISO/AVC",
    "hevc": b"V_MPEGH/ISO/HEVC",
    "av1": b"V_AV1",
    "vp9": b"V_VP9",
    "ffv1": b"V_FFV1",
    "prores": b"V_PRORES",
}


def tag_stream(stream: av.VideoStream, codec: str, hdr: StaticHdr) -> None:
    """Let `stream` of an output say `hdr`.

    To be called before anything else is set on the stream: all of it is overwritten.

    Args:
        stream: just added, not opened.
        codec: FFmpeg's name of its codec.
        hdr: what to say.
    """
    if hdr:
        with av.open(io.BytesIO(_matroska(codec, hdr)), format="matroska") as container:
            BitStreamFilterContext("null", container.streams.video[0], stream)


def _matroska(codec: str, hdr: StaticHdr) -> bytes:
    """The beginning of a Matroska file with one stream of video (RFC 9559)."""
    colour = b""
    if hdr.content_light is not None:
        colour += _integer("55BC", hdr.content_light[0]) + _integer("55BD", hdr.content_light[1])
    if hdr.mastering is not None:
        dark, bright = hdr.mastering.luminance
        values = (*hdr.mastering.primaries, bright, dark)
        idents = (f"55{number:02X}" for number in range(0xD1, 0xDB))
        floats = (_element(i, struct.pack(">d", v)) for i, v in zip(idents, values, strict=True))
        colour += _element("55D0", b"".join(floats))
    video = _integer("B0", 16) + _integer("BA", 16) + _element("55B0", colour)
    track = _integer("D7", 1) + _integer("73C5", 1) + _integer("83", 1)
    track += _element("86", _CODEC_IDS[codec]) + _element("E0", video)
    if codec == "prores":
        track += _element("63A2", b"apcn")
    info = _element("1549A966", _integer("2AD7B1", 1_000_000))
    tracks = _element("1654AE6B", _element("AE", track))
    segment = _element("18538067", info + tracks + _element("1F43B675", _integer("E7", 0)))
    return _element("1A45DFA3", _element("4282", b"matroska")) + segment


def _element(ident: str, body: bytes) -> bytes:
    return bytes.fromhex(ident) + struct.pack(">Q", len(body) | 1 << 56) + body


def _integer(ident: str, value: int) -> bytes:
    return _element(ident, struct.pack(">Q", value))
