"""A job that dies, at any moment and of any cause, goes on where it was."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sapnet_stream.errors import OutputError, UsageError

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Derain = Callable[..., Any]

GROUPS = {"preset": "medium", "g": "12", "bf": "3"}
UNEVEN = [n * 512 + (n % 3) * 150 for n in range(100)]

# A job as a program of its own; its network is quick, deterministic, and slow enough to hit.
PROGRAM = """
import os, random, signal, sys, time
from fractions import Fraction
from pathlib import Path
import torch
from sapnet_stream import derain
from sapnet_stream.engine import DerainEngine
from sapnet_stream.job import Job
from sapnet_stream.video.codec import EncoderSettings

class Brighter:
    name = "brighter"
    def __call__(self, image):
        time.sleep(0.01)
        return image + 0.05
    def check_memory(self, height, width): pass

source, target = map(Path, sys.argv[2:4])
settings = EncoderSettings(codec="h264")
job = Job(source, target, encoder=settings, resume=True, part_seconds=0.4)
engine = DerainEngine(executor=Brighter())

def apart(work):
    # Nothing of torch or FFmpeg was used in this process yet: safe to fork.
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return child
"""
KILLED = """
chance = random.Random(7)
done = [0]
for _ in range(20 if target.suffix == source.suffix else 8):
    child = apart(lambda: derain.derain_file(job, engine))
    time.sleep(chance.uniform(0.1, 0.8))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if target.exists():
        break
    done.append(len(list(job.folder.glob("[0-9]*.json"))) if job.folder.exists() else 0)
print(*done)
derain.derain_file(job, engine) if job.folder.exists() or not target.exists() else None
"""
PARTED = """
numbers = list(range(derain.count_parts(job)))
random.Random(3).shuffle(numbers)
print(*numbers)
for number in numbers:
    child = apart(lambda: derain.derain_part(job, engine, number))
    assert os.waitpid(child, 0)[1] == 0
derain.derain_file(job, engine)
"""
PLAIN = "derain.derain_file(job, engine)\n"


def run(program: str, source: Path, target: Path) -> list[int]:
    command = [sys.executable, "-c", PROGRAM + program, "-", str(source), str(target)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # In the arguments "-" stands where a script's name would.
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def same(one: Any, two: Any) -> bool:
    return (
        one.times == two.times
        and one.packets == two.packets
        and all(
            np.array_equal(a, b)
            for left, right in zip(one.planes, two.planes, strict=True)
            for a, b in zip(left, right, strict=True)
        )
    )


@pytest.mark.parametrize(
    ("name", "target"), [("in.mp4", "out.mp4"), ("in.ts", "out.mkv"), ("in.h264", "out.mp4")]
)
def test_a_job_killed_twenty_times_ends_as_if_nothing_had_happened(
    make_clip: Make, read_clip: Read, sound: Any, tmp_path: Path, name: str, target: str
) -> None:
    timed = name == "in.mp4"
    source = make_clip(
        name,
        "libx264",
        size=(96, 64),
        ticks=UNEVEN if timed else range(100),
        time_base=Fraction(1, 12800 if timed else 25),
        rate=Fraction(25),
        noise=False,
        options=GROUPS,
        sounds=[sound("aac")] if timed else [],
    )
    (tmp_path / "whole").mkdir()
    run(PLAIN, source, tmp_path / "whole" / target)
    done = run(KILLED, source, tmp_path / target)
    # It was hit at many different moments, and never lost what was finished.
    assert len(done) >= 4 and done == sorted(done) and len(set(done)) >= 3, done
    assert same(read_clip(tmp_path / "whole" / target), read_clip(tmp_path / target))
    assert not (tmp_path / f"{target}.parts").exists()
    assert len(read_clip(tmp_path / target).times) == 100


@pytest.mark.parametrize("ticks", [range(100), [*range(30), *range(80, 100)]])
def test_parts_made_apart_in_any_order_join_to_the_same(
    make_clip: Make, read_clip: Read, tmp_path: Path, ticks: Any
) -> None:
    source = make_clip("in.mp4", "libx264", ticks=ticks, noise=False, options=GROUPS)
    run(PLAIN, source, tmp_path / "whole.mp4")
    numbers = run(PARTED, source, tmp_path / "out.mp4")
    assert sorted(numbers) == list(range(10)) != numbers
    assert same(read_clip(tmp_path / "whole.mp4"), read_clip(tmp_path / "out.mp4"))


SLOW = """
import signal, sys, time
# A shell may have started the tests in the background, deaf to Ctrl-C.
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
from sapnet_stream import cli
class Slow:
    name = "slow"
    def __call__(self, image):
        time.sleep(0.01)
        return image
    def check_memory(self, height, width): pass
engine = cli.DerainEngine
cli.DerainEngine = lambda *_, **__: engine(executor=Slow())
sys.exit(cli.main(sys.argv[1:]))
"""


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
    assert same(read_clip(tmp_path / "whole.mkv"), read_clip(target))
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv", "whole.mkv", target.name}


def test_a_second_signal_ends_the_job_at_once(make_clip: Make, tmp_path: Path) -> None:
    source = make_clip("in.mkv", ticks=range(4000), size=(16, 16))
    target = tmp_path / "out.mkv"
    process = begin(source, target)
    wait_for(tmp_path / "out.mkv.parts" / "job.json", process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert "stopped before anything was finished" in errors
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv"}

    process = begin(source, target)
    wait_for(tmp_path / "out.mkv.parts" / "000000.json", process)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert "go on: sapnet-stream --resume" in errors
    assert {p.name for p in tmp_path.iterdir()} >= {"in.mkv", "out.mkv.parts"}
    files = {p.name for p in (tmp_path / "out.mkv.parts").iterdir()}
    assert files <= {"lock", "job.json", "000000.json", "000000.nut"}


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


@pytest.fixture
def unfinished(make_clip: Make, derain: Derain, tmp_path: Path) -> Path:
    """A job of which three parts of ten are done, in `out.mkv.parts`."""
    source = make_clip("in.mkv", "libx264", ticks=range(100), noise=False, options=GROUPS)
    derain(source, tmp_path / "first.mkv", duration_seconds=1.2, part_seconds=0.4)
    script = PROGRAM + (
        "job = Job(source, target, part_seconds=0.4)\n"
        "engine = DerainEngine(executor=type('C', (), {'name': 'constant',"
        " '__call__': lambda s, x: x + 0.0, 'check_memory': lambda *_: None})())\n"
        "for number in range(3): derain.derain_part(job, engine, number)\n"
    )
    (tmp_path / "out.mkv.parts").mkdir()
    arguments = [sys.executable, "-c", script, "-", str(source), str(tmp_path / "out.mkv")]
    subprocess.run(arguments, check=True)
    return source


def test_what_is_done_is_neither_lost_nor_mixed(
    unfinished: Path, derain: Derain, read_clip: Read, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    parts = tmp_path / "out.mkv.parts"
    with pytest.raises(UsageError, match=r"--resume to go on, --keep-partial .* --overwrite"):
        derain(unfinished, target, part_seconds=0.4)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"crf": 23}, r"the encoder was libx264 .* crf=18 .*, is libx264 .* crf=23"),
        ({"strength": 0.5}, r"--strength was 1, is 0.5"),
        ({"duration_seconds": 2.0}, r"--duration was None, is 2.0"),
        ({"compare": "side"}, r"--compare was None, is side"),
    ]
    for changed, difference in changes:
        with pytest.raises(UsageError, match=difference):
            derain(unfinished, target, resume=True, part_seconds=0.4, **changed)
    content, status = unfinished.read_bytes(), unfinished.stat()
    changed_content = bytearray(content)
    changed_content[len(content) // 2] ^= 1
    unfinished.write_bytes(changed_content)
    os.utime(unfinished, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(UsageError, match="the input's content was"):
        derain(unfinished, target, resume=True, part_seconds=0.4)
    unfinished.write_bytes(content)
    with pytest.raises(UsageError, match="the input's time of change was"):
        derain(unfinished, target, resume=True, part_seconds=0.4)
    os.utime(unfinished, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(list(parts.glob("0*.nut"))) == 3

    report = derain(unfinished, target, keep_partial=True, part_seconds=0.4)
    assert not report.complete and report.path == tmp_path / "out.partial.mkv"
    assert len(read_clip(report.path).times) == report.frames == 30
    report = derain(unfinished, target, resume=True, part_seconds=0.4)
    assert report.complete and report.frames == 100
    derain(unfinished, tmp_path / "whole.mkv", part_seconds=0.4)
    assert same(read_clip(target), read_clip(tmp_path / "whole.mkv"))
    assert not report.path.with_name("out.partial.mkv").exists() and not parts.exists()


def test_overwrite_begins_anew(
    unfinished: Path, derain: Derain, read_clip: Read, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    derain(unfinished, target, overwrite=True, codec="ffv1")
    assert len(read_clip(target).times) == 100
    assert not (tmp_path / "out.mkv.parts").exists()


@pytest.mark.parametrize("loss", ["part", "record", "shorter", "torn"])
def test_a_part_that_was_lost_is_made_again(
    unfinished: Path, derain: Derain, read_clip: Read, tmp_path: Path, loss: str
) -> None:
    parts = tmp_path / "out.mkv.parts"
    if loss == "part":
        (parts / "000001.nut").unlink()
    elif loss == "record":
        (parts / "000001.json").unlink()
    elif loss == "shorter":
        os.truncate(parts / "000001.nut", 100)
    else:
        (parts / "000001.json").write_text('{"file": "0000')
        with pytest.raises(UsageError, match="is damaged: add --overwrite"):
            derain(unfinished, tmp_path / "out.mkv", resume=True, part_seconds=0.4)
        (parts / "000001.json").unlink()
    derain(unfinished, tmp_path / "out.mkv", resume=True, part_seconds=0.4)
    derain(unfinished, tmp_path / "whole.mkv", part_seconds=0.4)
    assert same(read_clip(tmp_path / "out.mkv"), read_clip(tmp_path / "whole.mkv"))


def test_a_death_after_the_last_step_leaves_only_tidying(
    make_clip: Make, derain: Derain, read_clip: Read, tmp_path: Path, monkeypatch: Any
) -> None:
    source = make_clip("in.mkv")
    monkeypatch.setattr("sapnet_stream.derain.remove", lambda _: os.listdir("/no such folder"))
    with pytest.raises(FileNotFoundError):
        derain(source, tmp_path / "out.mkv")
    monkeypatch.undo()
    assert (tmp_path / "out.mkv.parts").exists()
    report = derain(source, tmp_path / "out.mkv", resume=True)
    assert (report.complete, report.frames) == (True, 12)
    assert len(read_clip(tmp_path / "out.mkv").times) == 12
    assert not (tmp_path / "out.mkv.parts").exists()


def test_there_must_be_something_to_keep(
    make_clip: Make, derain: Derain, read_clip: Read, tmp_path: Path
) -> None:
    source = make_clip("in.mkv")
    with pytest.raises(UsageError, match=r"nothing of .* is done yet"):
        derain(source, tmp_path / "out.mkv", keep_partial=True)
    # Nothing to resume is a fresh start: a script may always say so.
    derain(source, tmp_path / "out.mkv", resume=True)
    assert len(read_clip(tmp_path / "out.mkv").times) == 12
    with pytest.raises(OutputError, match="exists"):
        derain(source, tmp_path / "out.mkv", resume=True)


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
    assert len(read_clip(tmp_path / "out.mkv").times) == 150
    assert json.dumps(read_clip(source).tags["size"]) == "[96, 64]"
