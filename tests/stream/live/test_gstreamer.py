"""Against GStreamer's RTSP server: another program's idea of the protocol, in and out."""

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sapnet_stream.live.address import parse_address
from sapnet_stream.live.output import Output
from tests.stream.live.gstreamer import PASSWORD, USER, Server, available
from tests.stream.live.loopback import Proxy


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """GStreamer's server."""
    if not available():
        pytest.skip("needs Debian's gir1.2-gst-rtsp-server-1.0, python3-gi and GStreamer plugins")
    made = Server(tmp_path / "pushed.h264")
    yield made
    made.stop()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_with_a_password_of_any_characters(
    server: Server, run: Callable[..., Any], eventually: Any, tmp_path: Path, transport: str
) -> None:
    # MPEG-TS cannot hold the sound of this camera, G.711, and Matroska holds it as samples.
    sounds = {"mov": "pcm_alaw", "mkv": "pcm_s16le", "ts": None}
    files = [Output(parse_address(str(tmp_path / f"out.{e}"), "output")) for e in sounds]
    job = run(server.camera, *files, transport=transport)
    eventually(lambda: job.status.frames_out > 30)
    job.stop()
    assert job.events[0] == "connected: mjpeg 64x48"
    assert any("left out" in e and e.endswith("audio in pcm_alaw") for e in job.events)
    for ending, codec in sounds.items():
        with av.open(str(tmp_path / f"out.{ending}")) as container:
            names = [stream.codec_context.name for stream in container.streams]
            assert names == ["h264", codec][: 2 if codec else 1], job.events
            assert sum(1 for _ in container.decode(video=0)) > 25
    with av.open(str(tmp_path / "out.mkv")) as container:
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    # GStreamer's tone of 440 Hz.
    tone = np.abs(np.fft.rfft(sound)).argmax() * 8000 / len(sound)
    assert abs(tone - 440) < 5
    assert PASSWORD not in "".join(job.events) and USER not in "".join(job.events)


def test_a_wrong_password_ends_the_job(server: Server, run: Callable[..., Any]) -> None:
    job = run(server.address("mjpeg").with_credentials(USER, PASSWORD[:-1]))
    job.thread.join(30)
    assert "the user or the password is wrong" in str(job.error)


def test_kills_and_freezes_of_the_server(
    server: Server, run: Callable[..., Any], eventually: Any, tmp_path: Path, ffprobe: Any
) -> None:
    job = run(
        server.camera,
        Output(parse_address(str(tmp_path / "out.mkv"), "output")),
        silence_seconds=2.0,
    )
    for round in range(1, 4):
        count = job.status.frames_out
        eventually(lambda count=count: job.status.frames_out > count + 10)
        if round == 2:
            server.process.send_signal(signal.SIGSTOP)
            eventually(lambda: job.status.state == "stalled")
            eventually(lambda: job.status.state == "backing-off")
            server.process.send_signal(signal.SIGCONT)
        else:
            server.stop()
            eventually(lambda: job.status.state == "backing-off")
            server.start()
        eventually(lambda round=round: job.status.reconnects >= round)
    count = job.status.frames_out
    eventually(lambda: job.status.frames_out > count + 10)
    status = job.stop()
    probed = ffprobe(tmp_path / "out.mkv", "-count_frames", "-show_frames", "-select_streams", "v")
    seconds = [float(frame["pts_time"]) for frame in probed["frames"]]
    assert abs(len(seconds) - status.frames_out) <= 1, "\n".join(job.events)
    assert sorted(set(seconds)) == seconds


def test_a_server_that_is_pushed_to_is_told_of_the_end(
    server: Server, camera: Any, run: Callable[..., Any], eventually: Any
) -> None:
    proxy = Proxy(server.port)
    push = parse_address(f"rtsp://127.0.0.1:{proxy.port}/push", "output")
    job = run(camera.url("camera.mp4"), Output(push.with_credentials(USER, PASSWORD)))
    eventually(lambda: job.status.outputs[0].sent > 20)
    job.stop()
    eventually(lambda: proxy.requests[-1] == b"TEARDOWN")
    proxy.close()


def test_a_stream_is_pushed_to_a_server_that_stops_listening_for_a_while(
    server: Server, camera: Any, run: Callable[..., Any], eventually: Any, tmp_path: Path
) -> None:
    push = parse_address(f"rtsp://127.0.0.1:{server.port}/push", "output")
    file = Output(parse_address(str(tmp_path / "out.mkv"), "output"))
    target = Output(push.with_credentials(USER, PASSWORD))
    job = run(camera.url("camera.mp4"), target, file)
    eventually(lambda: job.status.outputs[0].state == "running")
    eventually(lambda: server.file.exists() and server.file.stat().st_size > 3000)
    server.process.send_signal(signal.SIGSTOP)
    count = job.status.frames_out
    eventually(lambda: job.status.frames_out > count + 25)
    server.process.send_signal(signal.SIGCONT)
    server.stop()
    eventually(lambda: job.status.outputs[0].state == "backing-off")
    shutil.copy(server.file, tmp_path / "pushed-first.h264")
    server.start()
    eventually(lambda: job.status.outputs[0].connections == 2)
    began = time.monotonic()
    status = job.stop()
    assert time.monotonic() - began < 5
    assert status.outputs[1].skipped == 0
    with av.open(str(tmp_path / "pushed-first.h264")) as container:
        assert sum(1 for _ in container.decode(video=0)) > 5
