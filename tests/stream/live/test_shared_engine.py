"""One network for several cameras."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

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


def test_one_thread_computes_for_all_cameras(make_clip: Callable[..., Path]) -> None:
    seen: list[str] = []

    class Watched(Nothing):
        def __call__(self, image: Tensor) -> Tensor:
            seen.append(threading.current_thread().name)
            return super().__call__(image)

    with VideoDecoder(make_clip("a.mp4", "libx264", ticks=range(2))) as decoder:
        frame = next(iter(decoder)).detached()
    engine = SharedEngine(lambda: DerainEngine(executor=Watched()))
    cameras = [threading.Thread(target=engine.stream().frame, args=(frame,)) for _ in range(3)]
    for camera in cameras:
        camera.start()
        camera.join()
    assert len(seen) == 3 and len(set(seen)) == 1 and seen[0].startswith("sapnet-derain")


def test_an_error_is_that_of_the_frame(make_clip: Callable[..., Path]) -> None:
    class Broken(Nothing):
        def __call__(self, image: Tensor) -> Tensor:
            raise RuntimeError(f"no device for {tuple(image.shape)}")

    with VideoDecoder(make_clip("a.mp4", "libx264", ticks=range(2))) as decoder:
        frame = next(iter(decoder)).detached()
    stream = SharedEngine(lambda: DerainEngine(executor=Broken())).stream()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no device"):
            stream.frame(frame)
