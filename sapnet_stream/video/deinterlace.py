"""Whole pictures from fields, by FFmpeg's bwdif: one picture per frame, at the frame's time."""

from collections.abc import Iterator
from fractions import Fraction

import av
import av.filter

from sapnet_stream.video.frame import planar_name

# What the filter takes at least.
LEAST_COLUMNS, LEAST_ROWS = 3, 4


class Deinterlacer:
    """Turns frames that are flagged as interlaced into whole pictures; others pass untouched.

    Each field's missing rows are filled in from the fields before and after it (Bob Weaver,
    motion adaptive), so a picture comes out when the next one went in.
    """

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None

    def push(self, picture: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Take in a decoded picture, or None for the end; give out those that are ready.

        Their pts are exact in their own `time_base`, which is half the source's.
        """
        if picture is not None and (picture.width < LEAST_COLUMNS or picture.height < LEAST_ROWS):
            yield picture
            return
        if self._graph is None:
            if picture is None:
                return
            self._graph = _graph(picture)
        self._graph.push(None if picture is None else _planar(picture))
        while True:
            try:
                done = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(done, av.VideoFrame)
            yield done


def _planar(picture: av.VideoFrame) -> av.VideoFrame:
    """The filter takes no other formats, and would convert them as it likes."""
    name = planar_name(picture.format.name)
    return picture if picture.format.name == name else picture.reformat(format=name)


def _graph(picture: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=picture.width,
        height=picture.height,
        format=av.VideoFormat(planar_name(picture.format.name)),
        time_base=picture.time_base or Fraction(1, 1000),
    )
    bwdif = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    return graph
