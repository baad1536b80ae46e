"""One network for several cameras."""

from collections.abc import Callable
from pathlib import Path

from sapnet_stream.engine import DerainEngine
from sapnet_stream.live.shared_engine import SharedEngine
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.frame import Frame
from tests.stream.live.job import Nothing


def test_cameras_of_one_size_share_an_engine_and_others_have_their_own(
    make_clip: Callable[..., Path],
) -> None:
    def frame(name: str, size: tuple[int, int]) -> Frame:
        with VideoDecoder(make_clip(name, "libx264", ticks=range(2), size=size)) as decoder:
            return next(iter(decoder)).detached()

    made: list[DerainEngine] = []

    def make() -> DerainEngine:
        made.append(DerainEngine(executor=Nothing()))
        return made[-1]

    engine = SharedEngine(make)
    assert (engine.description, engine.past_frames, len(made)) == ("nothing", 0, 1)
    streams = [engine.stream() for _ in range(3)]
    large, small = frame("a.mp4", (64, 48)), frame("b.mp4", (32, 32))
    for stream in streams:
        assert stream.frame(large).height == 48
    assert len(made) == 1
    for stream in streams:
        assert stream.frame(small).height == 32
        assert stream.frame(large).height == 48
    assert len(made) == 2
