"""Before and after in one picture, laid out as players show it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from sapnet_stream.video.frame import UNTAGGED_MATRICES, Frame, assumed_matrix
from sapnet_stream.video.info import VideoInfo
from sapnet_stream.video.orientation import AS_STORED

WIPE_SECONDS = 8.0
LINES_PER_WIDTH = 640


@dataclass(frozen=True)
class Comparison:
    """A way to show input and output in one video.

    Attributes:
        info: what the stream of compared frames says of itself, from the source's.
        frame: one compared frame, from the source's frame and the derained one.
    """

    info: Callable[[VideoInfo], VideoInfo]
    frame: Callable[[Frame, Frame], Frame]


def side_by_side(before: Frame, after: Frame) -> Frame:
    """`before` on the left, `after` on the right, twice as wide.

    Where chroma is narrower than luma, each half loses what does not fill a chroma sample,
    so that the halves meet at a whole one.
    """
    layout = before.layout
    width = half_width(before.width, layout.chroma_columns)
    halves = layout.plane_shapes(before.height, width)
    wholes = layout.plane_shapes(before.height, 2 * width)
    planes = tuple(
        # Two halves narrower than a chroma sample share one.
        torch.cat((left[:, :half], right[:, :half]), dim=1)[:, :whole]
        for left, right, (_, half), (_, whole) in zip(
            before.planes, after.planes, halves, wholes, strict=True
        )
    )
    return after.with_planes(planes)


def side_by_side_info(info: VideoInfo) -> VideoInfo:
    """What a stream of `side_by_side` frames says of itself."""
    # Its pictures are new ones, which nothing flags as fields.
    info = replace(info, interlaced=False)
    if info.orientation.quarter_turns % 2:
        if info.layout.model == "yuv" and info.matrix in UNTAGGED_MATRICES:
            # Players guess it from the height.
            info = replace(info, matrix=assumed_matrix(info.height))
        return replace(info, height=2 * half_width(info.height, info.layout.chroma_rows))
    return replace(info, width=2 * half_width(info.width, info.layout.chroma_columns))


def half_width(width: int, chroma_columns: int) -> int:
    """The widest half that ends at a whole chroma sample, at least one column."""
    return max(width - width % chroma_columns, min(width, 1))


def wipe(before: Frame, after: Frame) -> Frame:
    """`before` left of a line that glides to the right and back, `after` right of it.

    Where the line is depends on the frame's time alone. It is black beside white, so that it
    shows on any picture, and stands at whole chroma samples.
    """
    layout = before.layout
    # Counted in chroma samples, so that one number serves all planes.
    width = -(-before.width // layout.chroma_columns)
    line = min(max(1, width // LINES_PER_WIDTH), width // 16)
    position = round(wipe_position(before.seconds) * (width - 2 * line))
    planes = []
    for number, (left, right) in enumerate(zip(before.planes, after.planes, strict=True)):
        chroma = number in (1, 2) and layout.model == "yuv"
        alpha = layout.alpha and number == len(before.planes) - 1
        step = 1 if chroma else layout.chroma_columns
        begin, middle, end = (step * (position + lines * line) for lines in range(3))
        plane = right.clone()
        plane[:, :begin] = left[:, :begin]
        # The ends of the codes are black and white enough in either range.
        neutral, most = 2 ** (layout.bits - 1), 2**layout.bits - 1
        plane[:, begin:middle] = neutral if chroma else most if alpha else 0
        plane[:, middle:end] = neutral if chroma else most
        planes.append(plane)
    return after.with_planes(tuple(planes))


def wipe_position(seconds: float) -> float:
    """Where the line of a wipe is at a time: 0 left, 1 right, slower at both ends."""
    return (1 - math.cos(2 * math.pi * seconds / WIPE_SECONDS)) / 2


def _as_seen(compare: Callable[[Frame, Frame], Frame]) -> Callable[[Frame, Frame], Frame]:
    """`compare` for pictures that players turn: left and right are the viewer's."""

    def turned(before: Frame, after: Frame) -> Frame:
        if before.orientation == AS_STORED:
            return compare(before, after)
        planes = compare(_upright(before), _upright(after)).planes
        return after.with_planes(
            tuple(after.orientation.stored(plane).contiguous() for plane in planes)
        )

    return turned


def _upright(frame: Frame) -> Frame:
    """The picture as it is seen; chroma that is narrower lies lower after a quarter turn."""
    planes = tuple(frame.orientation.upright(plane) for plane in frame.planes)
    layout = frame.layout
    if frame.orientation.quarter_turns % 2:
        rows, columns = layout.chroma_columns, layout.chroma_rows
        layout = replace(layout, chroma_rows=rows, chroma_columns=columns)
    return replace(frame, planes=planes, layout=layout, orientation=AS_STORED)


COMPARISONS = {
    "side": Comparison(side_by_side_info, _as_seen(side_by_side)),
    "wipe": Comparison(lambda info: info, _as_seen(wipe)),
}
