"""A job that is stopped, locked or out of space ends in one sentence, and can go on."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sapnet_stream.stop import Stop
from sapnet_stream.video import pictures
from tests.stream.slow_program import slow_program

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Derain = Callable[..., Any]

SLOW = slow_program("time.sleep(0.01)")


def begin(*arguments: str | Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SLOW, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_job_with_its_part_and_a_playable_file(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path, name: str
) -> None:
    source = make_clip("in.mkv", ticks=range(400))
    target = tmp_path / "with space.mkv"
    process = begin(source, target)
    wait_for(tmp_path / "with space.mkv.parts" / "job.json", process)
    time.sleep(0.3)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "stopping at the end of this part" in errors and "Traceback" not in errors
    # Parts are 5 seconds of 25 frames each.
    found = re.search(
        r"the first (\d+) frames are in .*with space.partial.mkv; go on: (.*)", errors
    )
    assert found, errors
    partial = read_clip(tmp_path / "with space.partial.mkv")
    assert len(partial.times) == int(found[1]) in (125, 250)
    assert not target.exists()
    command = shlex.split(found[2])
    assert command[:2] == ["sapnet-stream", "--resume"]
    process = begin(*command[1:])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert f"after {found[1]} frames that are done" in errors
    derain(source, tmp_path / "whole.mkv")
    assert read_clip(tmp_path / "whole.mkv").is_same(read_clip(target))
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv", "whole.mkv", target.name}


@pytest.mark.parametrize(
    ("awaited", "names", "said", "left"),
    [
        ("job.json", ("SIGINT", "SIGTERM"), "stopped before anything was finished", set()),
        ("000000.json", ("SIGTERM", "SIGINT"), "go on: sapnet-stream --resume", {"out.mkv.parts"}),
    ],
)
def test_a_second_signal_ends_the_job_at_once(
    make_clip: Make,
    read_clip: Read,
    tmp_path: Path,
    awaited: str,
    names: tuple[str, str],
    said: str,
    left: set[str],
) -> None:
    source = make_clip("in.mkv", ticks=range(4000), size=(16, 16))
    process = begin(source, tmp_path / "out.mkv")
    wait_for(tmp_path / "out.mkv.parts" / awaited, process)
    for name in names:
        process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert said in errors
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv", *left}
    for parts in left:
        files = {p.name for p in (tmp_path / parts).iterdir()}
        assert files <= {"lock", "job.json", "000000.json", "000000.nut"}
        process = begin("--keep-partial", source, tmp_path / "out.mkv")
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and "the first 125 frames are in" in errors, errors
        partial, whole = read_clip(tmp_path / "out.partial.mkv"), read_clip(source)
        assert partial.times == whole.times[:125] and not (tmp_path / "out.mkv").exists()


def test_a_second_signal_ends_an_image_of_a_folder_at_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("0.png", "1.png"):
        Image.new("RGB", (32, 24)).save(tmp_path / "in" / name)
    (tmp_path / "out").mkdir()
    wait = f"open({str(tmp_path / 'begun')!r}, 'w'); time.sleep(30)"
    command = [sys.executable, "-c", slow_program(wait), tmp_path / "in", tmp_path / "out"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "begun", process)
    for name in ("SIGINT", "SIGTERM"):
        time.sleep(0.2)
        process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert "stopped; go on: sapnet-stream --resume" in errors
    assert list((tmp_path / "out").iterdir()) == []


def test_a_second_wish_ends_the_search_for_the_first_frame(
    make_clip: Make, derain: Derain, tmp_path: Path
) -> None:
    source = make_clip("in.h264", "libx264", ticks=range(60), noise=False)
    stop = Stop()
    stop.ask()
    stop.ask()
    with pytest.raises(KeyboardInterrupt):
        derain(source, tmp_path / "out.mkv", stop=stop, start_seconds=1.0)
    assert {p.name for p in tmp_path.iterdir()} == {"in.h264"}


def test_a_second_wish_ends_the_second_decoding_before_a_part(
    make_clip: Make, derain: Derain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_thread_count", lambda: 4)
    source = make_clip("in.h264", "libx264", ticks=range(60), noise=False)
    source.write_bytes(source.read_bytes()[:-100])
    stop, again = Stop(), list[int]()

    def on_again(done: int, _: int) -> None:
        again.append(done)
        if done == 1:
            stop.ask()
            stop.ask()

    with pytest.raises(KeyboardInterrupt):
        derain(source, tmp_path / "out.mkv", stop=stop, on_again=on_again, start_seconds=2.25)
    assert 1 <= len(again) < 10


def test_a_second_process_on_the_same_output_is_refused(make_clip: Make, tmp_path: Path) -> None:
    source = make_clip("in.mkv", ticks=range(4000), size=(16, 16))
    first = begin(source, tmp_path / "out.mkv")
    wait_for(tmp_path / "out.mkv.parts" / "job.json", first)
    second = begin("--resume", source, tmp_path / "out.mkv")
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 4 and "in use by another sapnet-stream" in errors
    assert errors.count("\n") == 1
    assert first.poll() is None
    first.kill()
    first.communicate()


def test_a_full_disk_is_told_and_the_job_goes_on_with_more_space(
    make_clip: Make, read_clip: Read, tmp_path: Path
) -> None:
    """On a small file system of its own, in a mount namespace."""
    source = make_clip("in.mkv", ticks=range(150), size=(96, 64))
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        "set -e; mount -t tmpfs -o size=1500k none disk; touch disk/mounted;"
        f"run() {{ {sys.executable} -c {shlex.quote(SLOW)} in.mkv disk/out.mkv --codec ffv1 $1; }};"
        "dd if=/dev/zero of=disk/filler bs=1k count=700 2>/dev/null; run || echo status $?;"
        "ls disk; rm disk/filler; mount -o remount,size=9m disk; run --resume; cp disk/out.mkv ."
    )
    if shutil.which("unshare") is None:
        pytest.skip("makes a small disk by the unshare program")
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "status" not in done.stdout:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "status 4" in done.stdout and "out.mkv\n" not in done.stdout
    assert (
        "is full: free space and run again with --resume" in done.stderr
        and "Traceback" not in done.stderr
    )
    assert read_clip(tmp_path / "out.mkv").is_same(read_clip(source))
