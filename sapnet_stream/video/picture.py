"""Between FFmpeg's pictures and planes of samples; nothing is converted that need not be."""

from typing import Any

import av
import numpy as np
import torch
from av.sidedata.sidedata import SideDataContainer
from torch import Tensor

from sapnet_stream.errors import InputError
from sapnet_stream.video.frame import PixelLayout, pixel_layout


def read_planes(picture: av.VideoFrame, layout: PixelLayout) -> tuple[Tensor, ...]:
    """The samples as tensors over the picture's own memory, kept alive by them.

    Args:
        picture: in the format of `layout`, or in one that holds the same samples. It gets memory
            of its own, if the decoder still needs what it has.
        layout: of the planes returned.

    Raises:
        InputError: the picture's rows go upwards in memory.
    """
    if picture.format.name.replace("yuvj", "yuv") != layout.name:
        picture = picture.reformat(format=layout.name)
    elif any(plane.line_size < 0 for plane in picture.planes):
        raise InputError("pictures stored upside down cannot be read: convert the video first")
    else:
        # Not when it is painted over: that would leave the tensors with memory that the decoder
        # takes back and fills again.
        picture.make_writable()
    kind = np.uint8 if layout.bits == 8 else np.uint16
    shapes = layout.plane_shapes(picture.height, picture.width)
    planes = []
    for plane, (rows, columns) in zip(picture.planes, shapes, strict=True):
        samples = np.frombuffer(memoryview(plane), kind).reshape(rows, -1)
        planes.append(torch.from_numpy(samples[:, :columns]))
    return tuple(planes)


def side_data(picture: av.VideoFrame) -> Any:
    """What a picture carries beside its samples: a mapping from FFmpeg's names, in capitals."""
    # A picture keeps what `picture.side_data` gives, which keeps the picture: the memory of both
    # would wait for Python's collector.
    make: Any = SideDataContainer
    return make(picture)


def write_planes(
    planes: tuple[Tensor, ...], layout: PixelLayout, over: av.VideoFrame | None = None
) -> av.VideoFrame:
    """A picture that holds copies of `planes`.

    Args:
        planes: as `layout` says.
        layout: of the picture.
        over: the picture that `read_planes` read, to paint over, so that its captions, timecode
            and field order stay; spent by this. One of another size is of no use.
    """
    height, width = planes[0].shape
    if over is None or (over.width, over.height) != (width, height):
        picture = av.VideoFrame(width, height, layout.name)
    else:
        picture = over if over.format.name == layout.name else over.reformat(format=layout.name)
        # The encoder decides anew which picture depends on which.
        picture.pict_type = 0
    for plane, samples in zip(picture.planes, planes, strict=True):
        memory = np.frombuffer(memoryview(plane), samples.numpy().dtype)
        memory.reshape(samples.shape[0], -1)[:, : samples.shape[1]] = samples.numpy()
    return picture


def with_neutral_chroma(
    planes: tuple[Tensor, ...], layout: PixelLayout
) -> tuple[tuple[Tensor, ...], PixelLayout]:
    """Gray as 4:2:0 with the same luma; swscale would take gray for full range and squeeze it."""
    (luma,) = planes
    target = pixel_layout(layout.name.replace("gray", "yuv420p"))
    height, width = luma.shape
    middle = 2 ** (layout.bits - 1)
    shapes = target.plane_shapes(height, width)[1:]
    return (luma, *(torch.full(shape, middle, dtype=luma.dtype) for shape in shapes)), target
