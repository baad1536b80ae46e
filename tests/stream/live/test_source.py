"""The source against a real server: every fault ends in another attempt or a clear sentence."""

import contextlib
import functools
import http.server
import os
import socket
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream.live import source
from sapnet_stream.live.fault import Fault
from sapnet_stream.live.source import State
from sapnet_stream.video.hardware import HardwareDecoder
from tests.stream.live.reader import Reader

Eventually = Callable[..., None]


def grows(times: list[float]) -> bool:
    return all(a < b for a, b in pairwise(times))


def test_picture_and_sound_arrive_on_one_clock(
    camera: Any, read: Callable[..., Reader], eventually: Eventually
) -> None:
    reader = read(camera.url("camera.mp4"))
    eventually(lambda: len(reader.video) > 40 and len(reader.audio) > 40)
    assert reader.stats.state == State.RUNNING
    assert grows(reader.video) and grows(reader.audio)
    # The clip's streams begin together.
    assert abs(reader.video[0] - reader.audio[0]) < 0.04
    assert reader.events[0] == "connected: h264 64x48"
    assert reader.stats.counts.total() == 0


def test_hardware_that_does_not_know_the_codec_leaves_it_to_the_cpu(
    camera: Any, read: Callable[..., Reader], eventually: Eventually
) -> None:
    # A device of this kind knows no decoder of ours.
    reader = read(camera.url("camera.mp4"), hardware=HardwareDecoder("drm"))
    eventually(lambda: len(reader.video) > 5)
    assert reader.events[0] == "connected: h264 64x48, decoded on the CPU"


def test_the_camera_is_told_that_nobody_reads_on(
    camera: Any, proxy: Any, read: Callable[..., Reader], eventually: Eventually
) -> None:
    reader = read(camera.url("camera.mp4", proxy.port))
    eventually(lambda: len(reader.video) > 5)
    began = time.monotonic()
    reader.stop()
    assert time.monotonic() - began < 1
    eventually(lambda: proxy.requests[-1] == b"TEARDOWN")


def test_a_camera_that_is_silent_is_left_without_a_word_in_a_second(
    camera: Any, read: Callable[..., Reader], eventually: Eventually
) -> None:
    reader = read(camera.url("camera.mp4"), stall_seconds=0.3, silence_seconds=60)
    eventually(lambda: reader.video)
    camera.freeze()
    eventually(lambda: reader.stats.state == State.STALLED)
    began = time.monotonic()
    reader.stop()
    assert time.monotonic() - began < 2


def test_a_camera_that_is_killed_and_comes_back(
    camera: Any, read: Callable[..., Reader], eventually: Eventually
) -> None:
    reader = read(camera.url("camera.mp4"))
    for kills in range(1, 3):
        count = len(reader.video)
        eventually(lambda count=count: len(reader.video) > count + 5)
        camera.stop()
        eventually(lambda: reader.stats.state == State.BACKING_OFF)
        camera.start()
        eventually(lambda kills=kills: reader.stats.connections == kills + 1)
    assert grows(reader.video) and grows(reader.audio)


def test_a_camera_that_freezes_is_stalled_then_left(
    camera: Any, read: Callable[..., Reader], eventually: Eventually
) -> None:
    reader = read(camera.url("camera.mp4"), stall_seconds=0.5, silence_seconds=1.5)
    eventually(lambda: reader.video)
    camera.freeze()
    eventually(lambda: reader.stats.state == State.STALLED)
    eventually(lambda: reader.stats.state == State.BACKING_OFF)
    assert Fault.SILENT in str(reader.events)
    camera.thaw()
    eventually(lambda: reader.stats.connections == 2)
    assert grows(reader.video)


def test_a_short_freeze_keeps_the_connection(
    camera: Any,
    read: Callable[..., Reader],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Sound alone is no stream, and neither is heard of meanwhile.
    monkeypatch.setattr(source, "FROZEN_SECONDS", 0.2)
    reader = read(camera.url("camera.mp4"), stall_seconds=0.3, silence_seconds=25)
    eventually(lambda: reader.video)
    camera.freeze()
    eventually(lambda: reader.stats.state == State.STALLED)
    camera.thaw()
    count = len(reader.video)
    eventually(lambda: len(reader.video) > count + 5)
    eventually(lambda: reader.stats.state == State.RUNNING)
    assert reader.stats.attempts == 1 and reader.resumed


@pytest.mark.parametrize("spoil", ["cut", "half-open", "garbage"])
def test_a_spoilt_connection_is_made_anew(
    camera: Any, proxy: Any, read: Callable[..., Reader], eventually: Eventually, spoil: str
) -> None:
    reader = read(camera.url("camera.mp4", proxy.port), silence_seconds=1.5)
    eventually(lambda: len(reader.video) > 5)
    if spoil == "cut":
        proxy.cut()
    elif spoil == "half-open":
        proxy.stalled = True
        eventually(lambda: reader.stats.state == State.BACKING_OFF)
        proxy.stalled = False
    else:
        proxy.garbage = 4
        time.sleep(1)
        proxy.garbage = 0
        proxy.cut()
    eventually(lambda: reader.stats.connections >= 2)
    count = len(reader.video)
    eventually(lambda: len(reader.video) > count + 5)
    assert grows(reader.video) and grows(reader.audio)


def test_sound_alone_is_no_stream(
    camera: Any,
    make_clip: Callable[..., Path],
    sound: Callable[[str], Any],
    read: Callable[..., Reader],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source, "FROZEN_SECONDS", 1.0)
    times = [*range(10), 249]
    options = {"bf": "0", "preset": "ultrafast"}
    sounds = [sound("aac")]
    clip = make_clip("gap.mp4", "libx264", ticks=times, noise=False, sounds=sounds, options=options)
    clip.replace(camera.folder / "gap.mp4")
    reader = read(camera.url("gap.mp4"), silence_seconds=1.0)
    eventually(lambda: Fault.FROZEN in str(reader.events))


def test_many_outages_leave_nothing_behind(
    camera: Any, proxy: Any, read: Callable[..., Reader], eventually: Eventually
) -> None:
    reader = read(camera.url("camera.mp4", proxy.port), cap_seconds=0.1)
    open_files, threads = [], []
    for outage in range(1, 6):
        count = len(reader.video)
        eventually(lambda count=count: len(reader.video) > count + 3)
        open_files.append(sum("pipe:" in link for link in _links()))
        threads.append(sum(t.name.startswith("Thread-") for t in threading.enumerate()))
        proxy.cut()
        eventually(lambda outage=outage: reader.stats.connections > outage)
    assert max(open_files) <= open_files[0] and max(threads) <= threads[0] + 2
    assert grows(reader.video)


def test_hls_by_http(
    make_clip: Callable[..., Path],
    read: Callable[..., Reader],
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    clip = make_clip("in.mkv", "libx264", ticks=range(100), noise=False)
    with av.open(str(clip)) as old, av.open(str(tmp_path / "a.m3u8"), "w", format="hls") as new:
        copy = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for packet in old.demux():
            if packet.size:
                packet.stream = copy
                new.mux(packet)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        reader = read(f"http://127.0.0.1:{server.server_port}/a.m3u8")
        eventually(lambda: len(reader.video) > 90)
        reader.stop()
        server.shutdown()
        thread.join()


def test_a_slow_network_loses_nothing(
    camera: Any, proxy: Any, read: Callable[..., Reader], eventually: Eventually
) -> None:
    proxy.delay_seconds = 0.05
    reader = read(camera.url("camera.mp4", proxy.port))
    eventually(lambda: len(reader.video) > 20)
    assert reader.stats.attempts == 1


def test_every_state_ends_on_cancel(
    camera: Any, read: Callable[..., Reader], eventually: Eventually
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        connecting = read(f"rtsp://127.0.0.1:{mute.getsockname()[1]}/x")
        backing_off = read("rtsp://127.0.0.1:1/x", cap_seconds=60.0)
        running = read(camera.url("camera.mp4"))
        eventually(lambda: running.stats.state == State.RUNNING)
        eventually(lambda: backing_off.stats.attempts > 2)
        assert connecting.stats.state == State.CONNECTING
        for reader in (running, connecting, backing_off):
            reader.stop()
    stalled = read(camera.url("camera.mp4"), stall_seconds=0.3, silence_seconds=60)
    eventually(lambda: stalled.stats.state == State.RUNNING)
    camera.freeze()
    eventually(lambda: stalled.stats.state == State.STALLED)
    stalled.stop()


def test_a_file_is_read_at_its_own_pace_and_ends(
    make_clip: Callable[..., Path], sound: Callable[[str], Any], read: Callable[..., Reader]
) -> None:
    clip = make_clip("in.mkv", ticks=range(25), sounds=[sound("aac")])
    with av.open(str(clip)) as container:
        blocks = sum(packet.size > 0 for packet in container.demux(audio=0))
    began = time.monotonic()
    reader = read(str(clip), realtime=True)
    reader.thread.join(30)
    assert time.monotonic() - began > 0.9
    assert reader.error is None, reader.events
    assert reader.stats.state == State.ENDED
    assert len(reader.video) == 25 and grows(reader.video)
    assert len(reader.audio) == blocks


def _links() -> list[str]:
    found = []
    for each in Path("/proc/self/fd").iterdir():
        # Other threads close theirs meanwhile.
        with contextlib.suppress(OSError):
            found.append(os.readlink(each))
    return found
