"""Files of a camera job on a disk that fills up, or under names that are taken away."""

import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream.errors import OutputError
from sapnet_stream.live import program
from sapnet_stream.live.address import parse_address
from sapnet_stream.live.fault import Fault
from sapnet_stream.live.output import Output
from sapnet_stream.live.session import Session

Eventually = Callable[..., None]
Run = Any


def output(path: Path) -> Output:
    return Output(parse_address(str(path), "output"))


def fill(job: Run) -> None:
    """Leave no room for what an output writes now; what it begins later has some."""
    child = job.camera._sinks[0]._session._child._process.pid
    resource.prlimit(child, resource.RLIMIT_FSIZE, (1, 1))


def test_a_full_disk_is_found_out_and_what_is_lost_is_not_counted_as_sent(
    camera: Any,
    run: Callable[..., Run],
    eventually: Eventually,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "KEYFRAME_SECONDS", 1.6)
    job = run(camera.url("camera.mp4"), output(tmp_path / "a.mkv"), cap_seconds=0.2)
    eventually(lambda: job.status.outputs[0].sent > 0)
    fill(job)
    eventually(lambda: job.status.outputs[0].connections == 2)
    status = job.stop().outputs[0]
    packets = 0
    for name in ("a.mkv", "a-2.mkv"):
        with av.open(str(tmp_path / name)) as container:
            packets += sum(packet.size > 0 for packet in container.demux())
    assert 0 < status.sent <= packets
    told = re.search(r"a.mkv: .* full, .*; up to (\d+) packets are lost; ", "\n".join(job.events))
    assert told is not None and status.skipped >= int(told[1]) > 0


def test_the_end_says_what_a_full_disk_did_not_take(
    camera: Any,
    run: Callable[..., Run],
    eventually: Eventually,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It would be found out at the next picture to begin with, which is far away.
    monkeypatch.setattr(program, "KEYFRAME_SECONDS", 60)
    job = run(camera.url("camera.mp4"), output(tmp_path / "a.mp4"))
    eventually(lambda: job.status.outputs[0].state == "running")
    fill(job)
    count = job.status.frames_out
    eventually(lambda: job.status.frames_out > count + 10)
    status = job.stop().outputs[0]
    events = "\n".join(job.events)
    told = re.search(r"a.mp4: .* full, .*; up to (\d+) packets are lost$", events, re.MULTILINE)
    assert told is not None, job.events
    assert status.sent == 0 and status.skipped == int(told[1]) > 10


def test_a_full_disk_at_the_beginning_ends_the_job_and_leaves_no_file(
    camera: Any, run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Session.__init__

    def begin_without_room(session: Session, *wishes: Any) -> None:
        begin(session, *wishes)
        resource.prlimit(session._child._process.pid, resource.RLIMIT_FSIZE, (1000, 1000))

    monkeypatch.setattr(Session, "__init__", begin_without_room)
    job = run(camera.url("camera.mp4"), output(tmp_path / "a.mkv"))
    job.thread.join(30)
    assert isinstance(job.error, OutputError) and Fault.FULL in str(job.error)
    assert not list(tmp_path.glob("a*"))


@pytest.mark.parametrize("gone", ["removed", "renamed", "replaced"])
def test_a_file_that_is_taken_away_is_told_and_another_begun(
    camera: Any,
    run: Callable[..., Run],
    eventually: Eventually,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gone: str,
) -> None:
    monkeypatch.setattr(program, "KEYFRAME_SECONDS", 0.4)
    file = tmp_path / "records" / "a.mkv"
    file.parent.mkdir()
    job = run(camera.url("camera.mp4"), output(file), cap_seconds=0.2)
    eventually(lambda: job.status.outputs[0].connections == 1 and job.status.frames_out > 15)
    if gone == "renamed":
        file.parent.rename(tmp_path / "moved")
    else:
        file.unlink()
    if gone == "removed":
        file.parent.rmdir()
    if gone == "replaced":
        file.touch()
    eventually(lambda: job.status.outputs[0].connections == 2)
    count = job.status.frames_out
    eventually(lambda: job.status.frames_out > count + 10)
    job.stop()
    assert sum(Fault.GONE in event for event in job.events) == 1
    again = file.with_name("a-2.mkv") if gone == "replaced" else file
    for whole in [again] + [tmp_path / "moved" / "a.mkv"] * (gone == "renamed"):
        with av.open(str(whole)) as container:
            assert sum(1 for _ in container.decode(video=0)) > 5


def test_a_file_that_was_taken_away_last_is_told_at_the_end(
    camera: Any, run: Callable[..., Run], eventually: Eventually, tmp_path: Path
) -> None:
    job = run(camera.url("camera.mp4"), output(tmp_path / "a.mkv"))
    eventually(lambda: job.status.outputs[0].state == "running")
    (tmp_path / "a.mkv").unlink()
    job.stop()
    assert any(Fault.GONE in event for event in job.events)
