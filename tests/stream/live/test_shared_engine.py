"""One network for several cameras."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from sapnet_stream.engine import DerainEngine
from sapnet_stream.live import smaller
from sapnet_stream.live.cameras_file import read_cameras
from sapnet_stream.live.redact import Redactor
from sapnet_stream.live.shared_engine import SharedEngine
from sapnet_stream.live.smaller import shrunk
from sapnet_stream.live.ways import shared_ways
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


def test_one_thread_computes_for_all_cameras(
    make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set[str]()

    class Watched(Nothing):
        def __call__(self, image: Tensor) -> Tensor:
            seen.add(threading.current_thread().name)
            return super().__call__(image)

    def watched(*arguments: Any) -> Any:
        seen.add(threading.current_thread().name)
        return shrunk(*arguments)

    monkeypatch.setattr(smaller, "shrunk", watched)
    with VideoDecoder(make_clip("a.mp4", "libx264", ticks=range(2))) as decoder:
        frame = next(iter(decoder)).detached()
    ways_of = shared_ways(lambda _: DerainEngine(executor=Watched()))
    (tmp_path / "cameras.yaml").write_text(
        "cameras: {a: {input: rtsp://cam/a, output: none, when-slow: smaller},"
        " b: {input: rtsp://cam/b, output: none}}"
    )
    cameras = read_cameras(tmp_path / "cameras.yaml", Redactor()).cameras.values()
    half = 0
    for way in (way for camera in cameras for way in ways_of(camera)):
        half += "half" in way.name
        camera = threading.Thread(target=way.begin(), args=(frame,))
        camera.start()
        camera.join()
    assert half == 1 and len(seen) == 1 and seen.pop().startswith("sapnet-derain")


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
