"""PNG and TIFF pixels through PyAV: Pillow knows no colour of 16 bits per sample."""

from typing import Any

import av
import numpy as np

from sapnet_stream.still.still import Samples

# Channels to FFmpeg's name less byte order, of 8 and of 16 bits.
_FORMATS = {
    (1, 8): "gray",
    (2, 8): "ya8",
    (3, 8): "rgb24",
    (4, 8): "rgba",
    (1, 16): "gray16be",
    (2, 16): "ya16be",
    (3, 16): "rgb48be",
    (4, 16): "rgba64be",
}
_CHANNELS = {name[:-2]: channels for (channels, bits), name in _FORMATS.items() if bits == 16}


def decode_16_bit(codec: str, file: bytes, width: int, height: int) -> Samples:
    """The samples of a file of 16 bits per sample.

    Args:
        codec: "png" or "tiff".
        file: all of it.
        width, height: what its header says; another size is an error.

    Returns:
        [H, W, C] uint16.

    Raises:
        ValueError: damaged, or its samples are laid out in another way.
    """
    decoder: Any = av.CodecContext.create(codec, "r")
    # FFmpeg counts its own padding.
    decoder.options = {"max_pixels": str((width + 128) * (height + 128))}
    picture = [*decoder.decode(av.Packet(file)), *decoder.decode(None)][0]
    name, order = picture.format.name[:-2], picture.format.name[-2:]
    if name not in _CHANNELS or (picture.width, picture.height) != (width, height):
        raise ValueError(f"{picture.format.name} {picture.width}x{picture.height}")
    channels = _CHANNELS[name]
    rows = np.frombuffer(memoryview(picture.planes[0]), ">u2" if order == "be" else "<u2")
    rows = rows.reshape(height, -1)[:, : width * channels]
    return rows.astype(np.uint16).reshape(height, width, channels)


def encode_png(samples: Samples) -> bytes:
    """A PNG file that says nothing but its samples, [H, W, C] uint8 or uint16."""
    height, width, channels = samples.shape
    picture = av.VideoFrame(width, height, _FORMATS[channels, 8 * samples.itemsize])
    kind = ">u2" if samples.itemsize == 2 else "u1"
    memory = np.frombuffer(memoryview(picture.planes[0]), kind).reshape(height, -1)
    memory[:, : width * channels] = samples.reshape(height, -1)
    encoder: Any = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, picture.format.name
    encoder.options = {"pred": "mixed"}
    return b"".join(bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None)))
