"""Pictures of any size and format onto one of the size and format that an encoder takes."""

import av
from av.filter import Graph

from sapnet_stream.video.codec import EncoderPlan
from sapnet_stream.video.frame import PQ
from sapnet_stream.video.info import VideoInfo

# Hybrid log-gamma, in ITU-T H.273.
HLG = 18


def fits(info: VideoInfo, canvas: VideoInfo) -> bool:
    """Whether scaling is all it takes to show a picture of `info` as one of `canvas`.

    Turned pictures, fields and another dynamic range need more than that.
    """
    if info.interlaced or canvas.interlaced:
        return False
    turned = info.display_matrix != canvas.display_matrix
    return not turned and _range(info) == _range(canvas)


def _range(info: VideoInfo) -> tuple[object, ...]:
    """The dynamic range: its metadata, and the curve where it is not an ordinary one."""
    return info.hdr, info.transfer if info.transfer in (PQ, HLG) else None


class Canvas:
    """Shows whole pictures, undistorted, with black borders where the shape differs.

    Args:
        info: of the picture that results.
        plan: of its encoder.
    """

    def __init__(self, info: VideoInfo, plan: EncoderPlan) -> None:
        self._info = info
        self._plan = plan
        self._size: tuple[int, int] | None = None

    def place(self, picture: av.VideoFrame, info: VideoInfo) -> av.VideoFrame:
        """A picture of `info` on the canvas, its time kept."""
        plan = self._plan
        width, height = self._scaled(info)
        scaled = picture.reformat(
            width,
            height,
            plan.pixel_format,
            dst_colorspace=plan.matrix,
            dst_color_range=plan.color_range,
            interpolation="BICUBIC",
        )
        if self._size != (width, height):
            self._size = (width, height)
            self._graph = self._borders(width, height)
        self._graph.vpush(scaled)
        placed = self._graph.vpull()
        placed.colorspace, placed.color_range = plan.matrix, plan.color_range
        placed.pts, placed.time_base = picture.pts, picture.time_base
        placed.duration = picture.duration
        return placed

    def _scaled(self, info: VideoInfo) -> tuple[int, int]:
        """Width and height of a picture of `info` in samples of the canvas."""
        canvas = self._info
        stretch = info.sample_aspect_ratio / canvas.sample_aspect_ratio
        ratio = stretch * info.width / info.height
        if ratio * canvas.height <= canvas.width:
            return max(1, round(ratio * canvas.height)), canvas.height
        return canvas.width, max(1, round(canvas.width / ratio))

    def _borders(self, width: int, height: int) -> Graph:
        graph = Graph()
        graph.link_nodes(
            graph.add_buffer(
                width=width,
                height=height,
                format=av.VideoFormat(self._plan.pixel_format),
                time_base=self._info.time_base,
            ),
            # -1: centred.
            graph.add("pad", f"{self._info.width}:{self._info.height}:-1:-1"),
            graph.add("buffersink"),
        ).configure()
        return graph
