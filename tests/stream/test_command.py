"""Images, folders, looks and events through the command itself."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sapnet_stream import cli
from sapnet_stream import events as events_module
from sapnet_stream.engine import DerainEngine
from sapnet_stream.video import pictures
from tests.stream.slow_program import slow_program

Make = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


class Brighter:
    """Stands in for the network: adds 20 codes."""

    name = "brighter"

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image + 20 / 255

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command inside this process, with a stand-in for the network."""
    monkeypatch.setattr(cli, "DerainEngine", lambda *_, **__: DerainEngine(executor=Brighter()))
    return lambda *arguments: cli.main([str(argument) for argument in arguments])


SLOW = slow_program("time.sleep(0.05)")


def gray(path: Path) -> Path:
    Image.new("RGB", (32, 24), (100, 100, 100)).save(path)
    return path


def code_of(path: Path) -> int:
    with Image.open(path) as image:
        return int(np.array(image)[0, 0, 0])


def events(capfd: Capture) -> list[dict[str, Any]]:
    said = capfd.readouterr()
    assert said.err == ""
    return [json.loads(line) for line in said.out.splitlines()]


def test_a_mistake_is_said_once_for_a_folder(tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        gray(tmp_path / "in" / name)
    arguments = [tmp_path / "in", tmp_path / "out", "--device", "cuda:77"]
    assert cli.main([str(argument) for argument in arguments]) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_image_becomes_an_image(run: Any, tmp_path: Path, capfd: Capture) -> None:
    source, target = gray(tmp_path / "in.PNG"), tmp_path / "out.webp"
    assert run(source, target) == 0
    assert code_of(target) == 120
    assert capfd.readouterr().err == f"{target}: done in 0 s\n"
    assert run(source, target) == 4
    assert "--overwrite" in capfd.readouterr().err
    assert run(source, target, "--overwrite", "--quiet") == 0
    assert capfd.readouterr().err == ""


def test_what_an_image_cannot_hold_is_a_warning(run: Any, tmp_path: Path, capfd: Capture) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    Image.new("RGB", (8, 8)).save(tmp_path / "in.jpg", exif=exif)
    assert run(tmp_path / "in.jpg", tmp_path / "out.bmp", "--quiet") == 0
    said = capfd.readouterr().err
    assert said.startswith("sapnet-stream: warning: ") and "cannot hold EXIF" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in.png", "out.png", "--start", "1"], "--start is for videos"),
        (["in.png", "out.png", "--codec", "h264"], "--codec is for videos"),
        (["in.png", "out.png", "--crf", "0"], "--crf is for videos"),
        (["in.png", "out.png", "--hwaccel", "cuda"], "--hwaccel is for videos"),
        (["in.png", "out.png", "--resume"], "--resume is for videos"),
        (["in.png", "out.png", "--keep-partial"], "--keep-partial is for videos"),
        (["in.mkv", "out.png", "--preview", "3", "--compare", "wipe"], "--compare is for videos"),
        (["in.mkv", "out.png", "--preview", "12"], "has 12 frames, 0 to 11"),
        (["in.mkv", "out.png", "--preview", "-1"], "--preview must be 0 or more"),
        (["in.mkv", "out.png", "--preview", "first"], "invalid int value"),
        (["in.mkv", "out.mkv", "--progress", "xml"], "choose from"),
        ([".", "out", "--keep-partial"], "--keep-partial is for one video"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_two(
    run: Any,
    make_clip: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Capture,
    arguments: list[str],
    words: str,
) -> None:
    make_clip("in.mkv")
    gray(tmp_path / "in.png")
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    said = capfd.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and said.out == ""
    assert sorted(os.listdir(tmp_path)) == ["in.mkv", "in.png"]


def test_preview_writes_one_picture(
    run: Any, make_clip: Make, tmp_path: Path, capfd: Capture
) -> None:
    clip = make_clip("in.mp4", "libx264", noise=False)
    assert run("--preview", 7, clip, tmp_path / "look.png") == 0
    assert "look.png: done in" in capfd.readouterr().err
    with Image.open(tmp_path / "look.png") as image:
        assert image.size == (128, 48)


def test_wipe_keeps_size_and_frames(
    run: Any, make_clip: Make, read_clip: Any, tmp_path: Path
) -> None:
    clip = make_clip("in.mkv", noise=False, size=(320, 32), ticks=range(0, 100, 5))
    assert run(clip, tmp_path / "out.mkv", "--compare", "wipe") == 0
    before, after = read_clip(clip), read_clip(tmp_path / "out.mkv")
    assert after.times == before.times and after.tags["size"] == (320, 32)
    # At the beginning all is after, in the middle of the period nearly all is before.
    assert (after.planes[0][0] != before.planes[0][0]).mean() > 0.9
    assert (after.planes[-1][0] != before.planes[-1][0]).mean() < 0.05


@pytest.fixture
def folder(make_clip: Make, tmp_path: Path) -> Path:
    """Two videos, three images, a broken one, and what is neither."""
    inside = tmp_path / "in"
    inside.mkdir()
    make_clip("b10.mp4", "libx264", noise=False).rename(inside / "b10.mp4")
    make_clip("b9.avi", "mpeg4", noise=False).rename(inside / "b9.avi")
    for name in ("1.png", "2.jpg", "10.bmp"):
        gray(inside / name)
    (inside / "3.png").write_text("a diary")
    (inside / "notes.txt").write_text("")
    return inside


def test_a_folder_is_derained_file_by_file(
    run: Any, folder: Path, read_clip: Any, tmp_path: Path, capfd: Capture
) -> None:
    out = tmp_path / "out"
    assert run(folder, out) == 3
    said = capfd.readouterr().err
    assert sorted(os.listdir(out)) == ["1.png", "10.bmp", "2.jpg", "b10.mp4", "b9.mkv"]
    assert [code_of(out / name) for name in ("1.png", "2.jpg", "10.bmp")] == [120, 120, 120]
    assert len(read_clip(out / "b9.mkv").times) == len(read_clip(out / "b10.mp4").times) == 12
    assert "passed over notes.txt: " in said and "written as .mkv" in said
    assert said.index("1/6 ") < said.index("4/6 ") < said.index("5/6 ")
    assert "sapnet-stream: " in said and "3.png is not a PNG" in said
    assert said.endswith("5 done, 1 failed\n")
    assert run(folder, out) == 4
    assert "5 of 6 outputs exist or are begun" in capfd.readouterr().err
    gray(folder / "3.png")
    assert run(folder, out, "--resume") == 0
    assert capfd.readouterr().err.endswith("5 were done before, 1 done, 0 failed\n")
    assert run(folder, out, "--overwrite", "--quiet") == 0


def test_events_of_a_video(run: Any, make_clip: Make, tmp_path: Path, capfd: Capture) -> None:
    clip, target = make_clip("in.mp4", "libx264", noise=False), tmp_path / "out.mp4"
    assert run(clip, target, "--progress", "json") == 0
    start, *middle, done = events(capfd)
    assert start["event"] == "start" and start["codec"] == "h264"
    assert (start["frames"], start["resumed_frames"], start["width"]) == (12, 0, 64)
    assert middle and {each["event"] for each in middle} == {"progress"}
    assert (done["event"], done["output"], done["frames"]) == ("done", str(target), 12)


def test_events_of_an_image_a_mistake_and_a_folder(
    run: Any, folder: Path, tmp_path: Path, capfd: Capture
) -> None:
    assert run(folder / "1.png", tmp_path / "out.png", "--progress", "json") == 0
    (done,) = events(capfd)
    assert (done["event"], done["frames"], done["frames_per_second"]) == ("done", 1, None)
    assert run(tmp_path / "none.mp4", tmp_path / "out.mp4", "--progress", "json") == 3
    (error,) = events(capfd)
    assert (error["event"], error["exit_status"]) == ("error", 3)
    assert error["text"].endswith("none.mp4: no such file")
    assert run(folder, tmp_path / "out", "--progress", "json") == 3
    said = events(capfd)
    assert [each["event"] for each in said[:3]] == ["note", "note", "file"]
    assert [each["number"] for each in said if each["event"] == "file"] == [1, 2, 3, 4, 5, 6]
    assert said[-1] == {"event": "folder", "done": 5, "skipped": 0, "failed": 1, "exit_status": 3}
    assert next(each["text"] for each in said if each["event"] == "error").count("3.png") == 1


def test_events_go_on_while_a_damaged_file_is_decoded_again(
    run: Any, make_clip: Make, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "EVENT_SECONDS", 0)
    monkeypatch.setattr(pictures, "_thread_count", lambda: 3)
    clip = make_clip("in.h264", "libx264", noise=False, ticks=range(60))
    clip.write_bytes(clip.read_bytes()[:-100])
    assert run(clip, tmp_path / "out.mkv", "--progress", "json") == 0
    again = [each for each in events(capfd) if each["event"] == "again"]
    assert [each["frames"] for each in again] == list(range(1, len(again) + 1))
    assert {each["total"] for each in again} == {len(again)} and len(again) > 20


def test_events_that_nobody_reads_end_the_job(make_clip: Make, tmp_path: Path) -> None:
    clip = make_clip("in.mkv", noise=False, ticks=range(60))
    job = subprocess.Popen(
        [sys.executable, "-c", SLOW, clip, tmp_path / "out.mkv", "--progress", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert job.stdout and job.stderr
    assert json.loads(job.stdout.readline())["event"] == "start"
    job.stdout.close()
    said = job.stderr.read()
    job.stderr.close()
    assert job.wait(200) == 4
    assert said.count("nobody reads") == 1 and said.count("\n") == 1
    assert not (tmp_path / "out.mkv").exists()


def started(*arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments], stderr=subprocess.PIPE, text=True
    )


def test_a_folder_that_is_stopped_can_go_on(
    make_clip: Make, read_clip: Any, tmp_path: Path
) -> None:
    inside, out = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    # Long enough that a busy machine is still at the second when this test hears of it.
    frames = {1: 15, 2: 60, 3: 60}
    for number, count in frames.items():
        clip = make_clip("clip.mp4", "libx264", noise=False, ticks=range(count))
        clip.rename(inside / f"{number}.mp4")
    gray(inside / "4.png")
    job = started(inside, out)
    assert job.stderr
    for line in job.stderr:
        if line.startswith("2/4"):
            break
    job.send_signal(signal.SIGINT)
    said = job.stderr.read()
    assert job.wait(200) == 130
    job.stderr.close()
    assert said.rstrip().endswith(f"go on: sapnet-stream --resume {inside} {out}")
    assert (out / "1.mp4").exists() and not (out / "3.mp4").exists()
    job = started("--resume", inside, out)
    assert job.stderr
    rest = job.stderr.read()
    job.stderr.close()
    assert job.wait(200) == 0, rest
    assert {n: len(read_clip(out / f"{n}.mp4").times) for n in frames} == frames
    assert not list(out.glob("*.parts"))


def test_an_image_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    gray(tmp_path / "in.png")
    script = slow_program("print('now', flush=True); time.sleep(600)")
    job = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "in.png", tmp_path / "out.png"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert job.stdout and job.stdout.readline() == "now\n"
    job.send_signal(signal.SIGTERM)
    said = job.communicate(timeout=200)[1]
    assert job.returncode == 130
    assert said == "sapnet-stream: stopped; the output was not written\n"
    assert os.listdir(tmp_path) == ["in.png"]
