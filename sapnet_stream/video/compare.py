"""Before and after in one picture."""

from dataclasses import replace

import torch

from sapnet_stream.video.frame import Frame
from sapnet_stream.video.info import VideoInfo


def side_by_side(before: Frame, after: Frame) -> Frame:
    """`before` on the left, `after` on the right, twice as wide.

    Where chroma is narrower than luma, each half loses what does not fill a chroma sample,
    so that the halves meet at a whole one.
    """
    layout = before.layout
    width = half_width(before.width, layout.chroma_columns)
    shapes = layout.plane_shapes(before.height, width)
    planes = tuple(
        torch.cat((left[:, :columns], right[:, :columns]), dim=1)
        for left, right, (_, columns) in zip(before.planes, after.planes, shapes, strict=True)
    )
    return after.with_planes(planes)


def side_by_side_info(info: VideoInfo) -> VideoInfo:
    """What a stream of `side_by_side` frames says of itself."""
    # Its pictures are new ones, which nothing flags as fields.
    return replace(
        info, interlaced=False, width=2 * half_width(info.width, info.layout.chroma_columns)
    )


def half_width(width: int, chroma_columns: int) -> int:
    """The widest half that ends at a whole chroma sample, at least one column."""
    return max(width - width % chroma_columns, min(width, 1))
