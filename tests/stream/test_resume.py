"""A job that dies, at any moment and of any cause, goes on where it was."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

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
done, longest = [0], 0.8
for _ in range(20 if target.suffix == source.suffix else 8):
    child = apart(lambda: derain.derain_file(job, engine))
    time.sleep(chance.uniform(0.1, longest))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if target.exists():
        break
    done.append(len(list(job.folder.glob("[0-9]*.json"))) if job.folder.exists() else 0)
    # A busy machine may need longer than this for a part.
    longest *= 1.5 if done[-1] == done[-2] else 1
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
    assert read_clip(tmp_path / "whole" / target).is_same(read_clip(tmp_path / target))
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
    assert read_clip(tmp_path / "whole.mp4").is_same(read_clip(tmp_path / "out.mp4"))


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
        ({"strength": 1 - 1e-9}, r"--strength was 1.0, is 0.999999999"),
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
    assert read_clip(target).is_same(read_clip(tmp_path / "whole.mkv"))
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
    assert read_clip(tmp_path / "out.mkv").is_same(read_clip(tmp_path / "whole.mkv"))


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


def test_what_is_no_journal_is_one_sentence(
    unfinished: Path, derain: Derain, tmp_path: Path
) -> None:
    parts = tmp_path / "out.mkv.parts"
    record = json.loads((parts / "000001.json").read_text())
    for name, content in [
        ("000001.json", []),
        ("000001.json", {**record, "pts": 0}),
        ("000001.json", {**record, "behind": []}),
        ("job.json", []),
        ("end.json", 3),
        ("end.json", []),
        ("partial", None),
    ]:
        before = (parts / name).read_bytes() if (parts / name).exists() else None
        (parts / name).write_text("" if content is None else json.dumps(content))
        with pytest.raises(UsageError, match="parts is damaged: add --overwrite"):
            derain(unfinished, tmp_path / "out.mkv", resume=True, part_seconds=0.4)
        (parts / name).write_bytes(before) if before else (parts / name).unlink()


@pytest.mark.parametrize("other", ["stays", "goes", "gives way"])
def test_a_result_that_got_another_name_is_not_the_target(
    make_clip: Make, derain: Derain, read_clip: Read, tmp_path: Path, monkeypatch: Any, other: str
) -> None:
    source, target = make_clip("in.mkv"), tmp_path / "out.mkv"
    # The last look at what was joined comes before it gets its name.
    monkeypatch.setattr(
        "sapnet_stream.derain.verify_written", lambda *_: target.write_text("other") and []
    )
    with pytest.raises(OutputError, match="meanwhile: the result is"):
        derain(source, target)
    monkeypatch.undo()
    if other == "stays":
        with pytest.raises(OutputError, match="exists: name another output"):
            derain(source, target, resume=True)
        assert target.read_text() == "other" and (tmp_path / "out.mkv.parts").exists()
        return
    target.unlink()
    if other == "gives way":
        (tmp_path / "out.partial.mkv").rename(target)
    assert derain(source, target, resume=True).complete
    assert len(read_clip(target).times) == 12 and not (tmp_path / "out.mkv.parts").exists()


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
