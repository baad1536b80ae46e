"""The camera job from end to end: a real server in, real files and streams out."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sapnet_stream.live import decode, pace, program
from sapnet_stream.live.address import parse_address
from sapnet_stream.live.ladder import Way
from sapnet_stream.live.output import Keep, Output
from sapnet_stream.video.decode import frame_from
from sapnet_stream.video.frame import Frame

Eventually = Callable[..., None]
# A job on a thread of its own, see conftest.
Run = Any


def output(text: Any, **settings: Any) -> Output:
    return Output(parse_address(str(text), "output"), **settings)


def times(path: Path) -> dict[str, list[float]]:
    """Presentation times by kind of stream, every picture decoded."""
    found: dict[str, list[float]] = {"video": [], "audio": []}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is not None and packet.size:
                found[packet.stream.type].append(float(packet.pts * packet.time_base))
                for picture in packet.decode():
                    assert not getattr(picture, "is_corrupt", False)
    return found


def in_order(seconds: list[float]) -> bool:
    return sorted(set(seconds)) == seconds


def test_several_outputs_at_once(
    camera: Any,
    run: Callable[..., Run],
    eventually: Eventually,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [tmp_path / name for name in ("a.mkv", "b.mp4", "c.ts")]
    playlist = tmp_path / "live.m3u8"
    monkeypatch.setattr(program, "KEYFRAME_SECONDS", 1)
    job = run(
        camera.url("camera.mp4"),
        *map(output, [*files, playlist]),
        output(tmp_path / "roll.mkv", segment_seconds=1, keep=Keep(files=2)),
    )
    eventually(lambda: job.status.outputs[4].connections > 3)
    eventually(lambda: playlist.exists())
    status = job.stop()
    assert status.frames_in <= status.frames_out + status.dropped + 2
    assert all(o.skipped == 0 for o in status.outputs)
    for file in files:
        found = times(file)
        assert len(found["video"]) == pytest.approx(status.frames_out, abs=2)
        assert in_order(found["video"]) and in_order(found["audio"])
        assert len(found["audio"]) > 50
    # Those of a busy second have numbers.
    assert len(list(tmp_path.glob("roll-*.mkv"))) in (2, 3)
    for segment in tmp_path.glob("roll-*.mkv"):
        found = times(segment)
        assert found["video"][0] == 0 and found["video"][-1] < 1.2
    lines = playlist.read_text().splitlines()
    assert lines[0] == "#EXTM3U"
    pieces = [line for line in lines if line.endswith(".ts")]
    assert pieces
    assert in_order([t for piece in pieces for t in times(tmp_path / piece)["video"]])
    assert job.events[0] == "connected: h264 64x48"
    assert any(event.startswith("nothing: a frame takes ") for event in job.events)


def test_sound_stays_within_a_frame_of_its_picture(
    camera: Any, run: Callable[..., Run], eventually: Eventually, tmp_path: Path
) -> None:
    """By content: which picture and which block of sound of the clip are at which time."""
    job = run(camera.url("camera.mp4"), output(tmp_path / "a.mkv"), output(tmp_path / "b.mp4"))
    eventually(lambda: job.status.frames_out > 60)
    job.stop()
    pictures: list[Any] = []
    blocks: dict[bytes, list[float]] = {}
    packet: Any
    with av.open(str(camera.folder / "camera.mp4")) as clip:
        for packet in clip.demux():
            if packet.stream.type == "audio" and packet.size:
                blocks.setdefault(bytes(packet), []).append(float(packet.pts * packet.time_base))
            elif len(pictures) < 16:
                pictures += [p.to_ndarray(format="gray").astype(int) for p in packet.decode()]
    for name in ("a.mkv", "b.mp4"):
        shifts: dict[str, list[float]] = {"video": [], "audio": []}
        with av.open(str(tmp_path / name)) as container:
            for packet in container.demux():
                # Some blocks may be the same as others.
                if len(known := blocks.get(bytes(packet), [])) == 1:
                    shifts["audio"].append(float(packet.pts * packet.time_base) - known[0])
                elif packet.stream.type == "video" and packet.size:
                    for picture in packet.decode():
                        seen = picture.to_ndarray(format="gray").astype(int)
                        unlike = [abs(seen - each).mean() for each in pictures]
                        at = picture.time - unlike.index(min(unlike)) / 25
                        shifts["video"].append(float(at))
        assert len(shifts["audio"]) > 40 and len(shifts["video"]) > 40
        # The clip's ramp comes again after 16 pictures of 40 ms.
        apart = (np.median(shifts["video"]) - np.array(shifts["audio"])) % 0.64
        assert np.median(np.minimum(apart, 0.64 - apart)) < 0.04


def test_an_outage_leaves_one_file_with_times_that_grow(
    camera: Any, run: Callable[..., Run], eventually: Eventually, tmp_path: Path, ffprobe: Any
) -> None:
    job = run(camera.url("camera.mp4"), output(tmp_path / "a.mkv"))
    eventually(lambda: job.status.frames_out > 20)
    camera.stop()
    eventually(lambda: job.status.state == "backing-off")
    camera.start()
    eventually(lambda: job.status.reconnects == 1)
    count = job.status.frames_out
    eventually(lambda: job.status.frames_out > count + 20)
    job.stop()
    assert [each.name for each in tmp_path.glob("a*.mkv")] == ["a.mkv"]
    found = times(tmp_path / "a.mkv")
    assert in_order(found["video"]) and in_order(found["audio"])
    # The outage takes its time in the file too.
    assert max(b - a for a, b in pairwise(found["video"])) > 0.2
    probed = ffprobe(tmp_path / "a.mkv", "-count_frames", "-show_streams")
    assert int(probed["streams"][0]["nb_read_frames"]) == len(found["video"])


def test_a_reconnect_begins_the_memory_anew(
    camera: Any, proxy: Any, run: Callable[..., Run], eventually: Eventually
) -> None:
    memories: list[list[int]] = []

    def begin() -> Callable[[Frame], Frame]:
        memory: list[int] = []
        memories.append(memory)

        def derain(frame: Frame) -> Frame:
            memory.append(frame.pts)
            return frame

        return derain

    job = run(camera.url("camera.mp4", proxy.port), ways=[Way("remembers", begin)])
    eventually(lambda: memories and len(memories[0]) > 10)
    proxy.cut()
    eventually(lambda: len(memories) > 1 and len(memories[1]) > 10)
    job.stop()
    assert len(memories) == job.status.reconnects + 1
    assert min(memories[1]) > max(memories[0])


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds are judged over one second instead of five."""
    monkeypatch.setattr(pace, "_WINDOW_SECONDS", 1.0)


@pytest.mark.usefixtures("soon")
def test_a_slow_network_keeps_its_frames_young_and_counts_the_rest(
    camera: Any, run: Callable[..., Run], eventually: Eventually, tmp_path: Path
) -> None:
    def slow(frame: Frame) -> Frame:
        time.sleep(0.2)
        return frame

    job = run(
        camera.url("camera.mp4"), output(tmp_path / "a.mkv"), ways=[Way("slow", lambda: slow)]
    )
    eventually(lambda: any("too slow here" in event for event in job.events))
    status = job.stop()
    said = next(event for event in job.events if "too slow here" in event)
    assert "frames/s are derained of the" in said and "% are dropped" in said
    # Of the frames that came all but those in work are accounted for.
    assert 0 <= status.frames_in - status.frames_out - status.dropped <= 4
    assert status.dropped > status.frames_out
    assert status.drops["network_busy"] > status.dropped / 2
    assert status.bound_seconds >= 0.5
    assert status.age_p99_seconds < 4 * status.frame_seconds + 0.5


@pytest.mark.usefixtures("soon")
def test_a_decoder_that_falls_behind_leaves_out_what_is_too_old(
    camera: Any, run: Callable[..., Run], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*wishes: Any) -> Frame:
        time.sleep(0.06)
        return frame_from(*wishes)

    monkeypatch.setattr(decode, "frame_from", slow)
    job = run(camera.url("camera.mp4"))
    eventually(lambda: job.status.drops["too_old"] > 10)
    count = job.status.frames_out
    eventually(lambda: job.status.frames_out > count + 50)
    status = job.stop()
    # The queue before the decoder holds four seconds.
    assert status.age_p99_seconds < 1.5
    assert status.age_seconds <= status.bound_seconds
    assert status.drops["decoder_busy"] == 0


@pytest.mark.usefixtures("soon")
def test_when_slow_a_faster_way_is_taken(
    camera: Any, run: Callable[..., Run], eventually: Eventually
) -> None:
    def slow(frame: Frame) -> Frame:
        time.sleep(0.2)
        return frame

    ways = [Way("six stages", lambda: slow), Way("one stage", lambda: lambda frame: frame)]
    job = run(camera.url("camera.mp4"), ways=ways)
    eventually(lambda: "deraining with one stage from now on" in job.events)
    eventually(lambda: job.status.camera_rate > 0 and job.status.frame_seconds < 0.1)
    assert job.status.way == "one stage"


def test_a_file_at_its_own_pace_ends_by_itself(
    make_clip: Callable[..., Path], run: Callable[..., Run], tmp_path: Path
) -> None:
    clip = make_clip("in.mkv", "libx264", ticks=range(40), noise=False)
    job = run(str(clip), output(tmp_path / "out.mkv"), realtime=True)
    job.thread.join(30)
    assert job.error is None and job.status.state == "ended"
    found = times(tmp_path / "out.mkv")["video"]
    assert job.status.frames_in == 40
    assert len(found) == job.status.frames_out == 40 - job.status.dropped
    assert job.status.frames_out > 30
