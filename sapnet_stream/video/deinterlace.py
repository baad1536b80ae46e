"""Whole pictures from fields, by FFmpeg's bwdif: one picture per frame, at the frame's time."""

from collections.abc import Iterator

import av
import av.filter

from sapnet_stream.video.frame import planar_name
from sapnet_stream.video.info import DEFAULT_TIME_BASE

# What the filter takes at least.
LEAST_COLUMNS, LEAST_ROWS = 3, 4


def deinterlaced(pictures: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Frames that are flagged as interlaced as whole pictures; others untouched.

    Each field's missing rows are filled in from the fields before and after it (Bob Weaver,
    motion adaptive), so a picture comes out when the next one went in. Their pts are exact in
    their own `time_base`, which is half the source's.
    """
    graph: av.filter.Graph | None = None
    kind = None
    for picture in pictures:
        if picture.width < LEAST_COLUMNS or picture.height < LEAST_ROWS:
            yield picture
            continue
        if graph is None or kind != _kind(picture):
            if graph is not None:
                yield from _pushed(graph, None)
            graph, kind = _graph(picture), _kind(picture)
        yield from _pushed(graph, picture)
    if graph is not None:
        yield from _pushed(graph, None)


def _kind(picture: av.VideoFrame) -> tuple[int, int, str]:
    return picture.width, picture.height, planar_name(picture.format.name)


def _pushed(graph: av.filter.Graph, picture: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
    """What comes out when a picture goes in, or at the end."""
    # The filter takes planar formats alone, and would convert others as it likes.
    if picture is not None and picture.format.name != planar_name(picture.format.name):
        picture = picture.reformat(format=planar_name(picture.format.name))
    graph.push(picture)
    while True:
        try:
            done = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(done, av.VideoFrame)
        yield done


def _graph(picture: av.VideoFrame) -> av.filter.Graph:
    width, height, name = _kind(picture)
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width,
        height=height,
        format=av.VideoFormat(name),
        time_base=picture.time_base or DEFAULT_TIME_BASE,
    )
    bwdif = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    return graph
