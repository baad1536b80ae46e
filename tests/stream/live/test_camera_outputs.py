"""Outputs of a camera job that are slow, missing, or not to be written."""

import socket
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream.errors import OutputError
from sapnet_stream.live import camera as live_camera
from sapnet_stream.live import program
from sapnet_stream.live.address import parse_address
from sapnet_stream.live.child import Child
from sapnet_stream.live.fault import Fault
from sapnet_stream.live.ladder import Way
from sapnet_stream.live.output import Output, rolling_files
from sapnet_stream.video.frame import Frame

Eventually = Callable[..., None]
Run = Any


def output(text: Any) -> Output:
    return Output(parse_address(str(text), "output"))


def test_an_output_that_takes_nothing_does_not_hold_up_the_others(
    camera: Any, run: Callable[..., Run], eventually: Eventually, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        push = f"rtmp://127.0.0.1:{mute.getsockname()[1]}/app/key-12345"
        job = run(camera.url("camera.mp4"), output(tmp_path / "a.mkv"), output(push))
        eventually(lambda: job.status.frames_out > 30)
        file, stream = job.status.outputs
        assert file.state == "running" and stream.state in ("connecting", "backing-off")
        assert "key-12345" not in stream.output
        status = job.stop()
    assert status.outputs[0].skipped == 0
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) > 25


def test_an_output_that_is_not_there_is_tried_again_whatever_it_says_then(
    camera: Any,
    refuser: Any,
    run: Callable[..., Run],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "KEYFRAME_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    job = run(camera.url("camera.mp4"), output(f"rtsp://127.0.0.1:{port}/out"), cap_seconds=0.2)
    eventually(lambda: sum("nothing listens there" in event for event in job.events) > 1)
    with monkeypatch.context() as context:
        context.setattr(sys, "executable", "/nowhere")
        eventually(lambda: any(Fault.DIED in event for event in job.events))
    starting = type(refuser)(port)
    eventually(lambda: any(Fault.PASSWORD in event for event in job.events) or job.error)
    starting.close()
    assert job.error is None and job.status.state == "running"


def test_an_output_at_an_unknown_host_ends_the_job(camera: Any, run: Callable[..., Run]) -> None:
    job = run(camera.url("camera.mp4"), output("rtsp://camera.invalid/out"))
    job.thread.join(15)
    # Without a resolver nobody can tell, and it goes on.
    assert "there is no host of that name" in str(job.error) or "cannot be looked up" in str(
        job.events
    )


def test_a_file_that_cannot_be_written_ends_the_job(
    camera: Any, run: Callable[..., Run], tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    gone = output(folder / "a.mkv")
    folder.rmdir()
    job = run(camera.url("camera.mp4"), gone)
    job.thread.join(30)
    assert isinstance(job.error, OutputError)
    assert "cannot be written: correct it" in str(job.error)


def test_a_stream_over_udp_can_be_received(camera: Any, run: Callable[..., Run]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        run(camera.url("camera.mp4"), output(f"udp://127.0.0.1:{receiver.getsockname()[1]}"))
        data = b"".join(receiver.recv(2048) for _ in range(40))
    assert len(data) % 188 == 0 and set(data[::188]) == {0x47}


def test_an_output_that_hangs_is_told_and_goes_on_when_its_disk_does(
    camera: Any,
    run: Callable[..., Run],
    eventually: Eventually,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released, kill = threading.Event(), Child.kill

    def kill_late(child: Child) -> None:
        # As a process that waits for a disk, which nothing ends.
        released.wait(30)
        kill(child)

    monkeypatch.setattr(live_camera, "STUCK_SECONDS", 0.5)
    monkeypatch.setattr(program, "KEYFRAME_SECONDS", 0.2)
    job = run(camera.url("camera.mp4"), output(tmp_path / "a.mkv"), cap_seconds=0.2)
    eventually(lambda: job.status.outputs[0].state == "running")
    monkeypatch.setattr(Child, "kill", kill_late)
    kill(job.camera._sinks[0]._session._child)
    eventually(lambda: job.status.outputs[0].state == "stuck")
    eventually(lambda: any("stuck: output 1 did not come back" in event for event in job.events))
    count = job.status.frames_out
    eventually(lambda: job.status.frames_out > count + 10)
    assert job.status.state == "running" and not job.status.ready
    released.set()
    eventually(lambda: job.status.ready and "not stuck any more" in job.events)
    assert (tmp_path / "a-2.mkv").exists()


def test_sound_that_an_output_cannot_hold_is_told_once(
    make_clip: Callable[..., Path],
    sound: Callable[[str], Any],
    run: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "KEYFRAME_SECONDS", 0.4)
    clip = make_clip("in.mov", "libx264", ticks=range(60), sounds=[sound("pcm_alaw")])
    rolling = Output(parse_address(str(tmp_path / "a.ts"), "output"), segment_seconds=0.5)
    job = run(str(clip), rolling, realtime=True)
    job.thread.join(30)
    assert job.status.outputs[0].connections > 2
    (told,) = (event for event in job.events if "left out" in event)
    assert told == f"left out of {tmp_path / 'a.ts'}, which cannot hold it: audio in pcm_alaw"


def test_sound_is_in_the_same_segment_as_its_picture(
    camera: Any,
    run: Callable[..., Run],
    eventually: Eventually,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(frame: Frame) -> Frame:
        time.sleep(0.2)
        return frame

    monkeypatch.setattr(program, "KEYFRAME_SECONDS", 1)
    rolling = Output(parse_address(str(tmp_path / "a.mkv"), "output"), segment_seconds=1)
    job = run(camera.url("camera.mp4"), rolling, ways=[Way("slow", lambda: slow)])
    eventually(lambda: job.status.outputs[0].connections > 3)
    job.stop()
    for path in list(rolling_files(tmp_path / "a.mkv"))[1:3]:
        with av.open(str(path)) as container:
            sound = [frame.time or 0.0 for frame in container.decode(audio=0)]
        # Packets of AAC are 21 ms long.
        assert sound[0] < 0.03 and max(b - a for a, b in pairwise(sound)) < 0.03
        assert sound[-1] > 0.9
