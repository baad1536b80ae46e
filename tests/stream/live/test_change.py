"""A camera whose picture changes: size, shape, codec and rate, with either option."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sapnet_stream.live.address import parse_address
from sapnet_stream.live.canvas import fits
from sapnet_stream.live.output import Output
from sapnet_stream.video.decode import VideoDecoder

Run = Any
OPTIONS = {"bf": "0", "preset": "ultrafast", "g": "10"}


def output(path: Path) -> Output:
    return Output(parse_address(str(path), "output"))


def pictures(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize("rescale", [False, True])
def test_another_size_and_shape(
    camera: Any,
    make_clip: Callable[..., Path],
    sound: Callable[[str], Any],
    run: Callable[..., Run],
    eventually: Callable[..., None],
    tmp_path: Path,
    rescale: bool,
) -> None:
    clip = make_clip(
        "wide.mp4",
        "libx264",
        ticks=range(100),
        noise=False,
        size=(96, 48),
        sounds=[sound("aac")],
        options=OPTIONS,
    )
    job = run(camera.url("camera.mp4"), output(tmp_path / "out.mkv"), rescale=rescale)
    eventually(lambda: job.status.frames_out > 20)
    camera.stop()
    clip.replace(camera.folder / "camera.mp4")
    camera.start()
    eventually(lambda: job.status.reconnects == 1)
    count = job.status.frames_out
    eventually(lambda: job.status.frames_out > count + 20)
    job.stop()
    found = {
        path.name: {(p.width, p.height) for p in pictures(path)} for path in tmp_path.glob("out*")
    }
    if not rescale:
        assert found == {"out.mkv": {(64, 48)}, "out-2.mkv": {(96, 48)}}
        return
    assert found == {"out.mkv": {(64, 48)}}
    shown = pictures(tmp_path / "out.mkv")
    assert all(a < b for a, b in pairwise(float(p.time or 0) for p in shown))
    # 96x48 becomes 64x32 with 8 black rows above and below.
    first, last = (p.to_ndarray(format="gray").astype(int) for p in (shown[0], shown[-1]))
    assert first[:6].mean() > 60 and last[10:38].mean() > 60
    assert max(last[:6].max(), last[42:].max()) < 24


@pytest.mark.parametrize("rescale", [False, True])
def test_another_size_within_a_connection(
    make_clip: Callable[..., Path],
    run: Callable[..., Run],
    tmp_path: Path,
    rescale: bool,
) -> None:
    wishes: dict[str, Any] = {"codec": "libx264", "noise": False, "options": OPTIONS}
    parts = [
        make_clip(f"{n}.ts", ticks=range(25 * n, 25 * n + 25), size=size, **wishes)
        for n, size in enumerate([(64, 48), (32, 64), (64, 48)])
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    job = run(str(joined), output(tmp_path / "out.mp4"), realtime=True, rescale=rescale)
    job.thread.join(30)
    assert job.error is None
    files = sorted(tmp_path.glob("out*.mp4"))
    assert [each.name for each in files] == (
        ["out.mp4"] if rescale else ["out-2.mp4", "out-3.mp4", "out.mp4"]
    )
    shown = [pictures(each) for each in files]
    # The decoder loses none of them, and drops at most a few on a busy machine.
    assert 75 >= sum(map(len, shown)) == job.status.frames_out > 60
    assert {(p.width, p.height) for p in shown[-1]} == {(64, 48)}


def test_another_codec_and_rate_go_on_in_the_same_file(
    camera: Any,
    make_clip: Callable[..., Path],
    sound: Callable[[str], Any],
    run: Callable[..., Run],
    eventually: Callable[..., None],
    tmp_path: Path,
) -> None:
    clip = make_clip(
        "other.mp4",
        "libx265",
        ticks=range(0, 500, 5),
        noise=False,
        sounds=[sound("aac")],
        options={"preset": "ultrafast", "x265-params": "bframes=0:keyint=10:log-level=error"},
    )
    job = run(camera.url("camera.mp4"), output(tmp_path / "out.mkv"))
    eventually(lambda: job.status.frames_out > 20)
    camera.stop()
    clip.replace(camera.folder / "camera.mp4")
    camera.start()
    eventually(lambda: "connected: hevc 64x48" in job.events)
    count = job.status.frames_out
    eventually(lambda: job.status.frames_out > count + 10)
    job.stop()
    assert [each.name for each in tmp_path.glob("out*")] == ["out.mkv"]
    steps = np.diff([float(p.time or 0) for p in pictures(tmp_path / "out.mkv")])
    assert np.median(steps[:15]) == pytest.approx(0.04, abs=0.005)
    assert np.median(steps[-8:]) == pytest.approx(0.2, abs=0.02)


def test_scaling_is_not_all_that_another_dynamic_range_takes(
    make_clip: Callable[..., Path],
) -> None:
    with VideoDecoder(make_clip("clip.mp4", "libx264", ticks=range(5))) as decoder:
        plain = decoder.info
    assert fits(replace(plain, width=128, transfer=1), plain)
    assert fits(plain, replace(plain, transfer=6))
    for transfer in (16, 18):
        curved = replace(plain, transfer=transfer)
        assert not fits(curved, plain) and not fits(plain, curved) and fits(curved, curved)
    assert not fits(replace(plain, transfer=16), replace(plain, transfer=18))
    assert not fits(replace(plain, interlaced=True), plain)
