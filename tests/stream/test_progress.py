"""What a job says on its way, to a person and to a program."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from sapnet_stream import events as events_module
from sapnet_stream import progress
from sapnet_stream.events import JsonProgress
from sapnet_stream.progress import JobProgress, JobSettings, Pace

SETTINGS = JobSettings(
    input="in\udcff.mp4",
    output="out.mp4",
    codec="h264",
    width=64,
    height=48,
    pixel_format="yuv420p",
    frames_per_second=29.97002997,
    network="SAPNet, 6 stages",
    weights="sapnet",
    strength=1.0,
    encoder="libx264 yuv420p crf=18",
    needs="3 MiB of memory",
)


class Clock:
    """Stands in for `time`: runs only when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(events_module, "time", clock)
    return clock


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    said = capsys.readouterr()
    assert said.err == "" and said.out.isascii() and said.out.endswith("\n")
    return [json.loads(line) for line in said.out.splitlines()]


def test_pace_counts_neither_the_first_frame_nor_an_earlier_runs(clock: Clock) -> None:
    pace = Pace(110, resumed=100)
    clock.seconds += 60
    assert pace.update() is None and pace.seconds_left is None
    for _ in range(4):
        clock.seconds += 0.5
        pace.update()
    assert pace.frames_per_second == 2.0
    assert (pace.done, pace.frames, pace.todo) == (105, 5, 10) and pace.seconds_left == 2.5
    # Headers promise fewer frames than come.
    for _ in range(20):
        clock.seconds += 1
        pace.update()
    assert pace.seconds_left == 0
    assert Pace(None).seconds_left is None


def test_json_says_start_progress_each_second_and_done(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with JsonProgress() as job:
        job.begin(SETTINGS, 40, resumed=10)
        for _ in range(30):
            clock.seconds += 0.25
            job.update()
        job.warn("a stream was left out")
        job.done("out.mp4", 40)
    start, *middle, warning, done = events(capsys)
    assert start == {
        "event": "start",
        **vars(SETTINGS),
        "frames": 40,
        "resumed_frames": 10,
    }
    assert {event["event"] for event in middle} == {"progress"}
    assert [event["frames"] for event in middle] == [11, 15, 19, 23, 27, 31, 35, 39]
    assert middle[0] == {
        "event": "progress",
        "frames": 11,
        "total": 40,
        "frames_per_second": None,
        "seconds_left": None,
    }
    assert middle[1]["frames_per_second"] == 4 and middle[1]["seconds_left"] == 25 / 4
    assert warning == {"event": "warning", "text": "a stream was left out"}
    assert done == {
        "event": "done",
        "output": "out.mp4",
        "frames": 40,
        "seconds": 7.5,
        "frames_per_second": 4.0,
    }


def test_json_says_each_second_what_is_decoded_again(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    job = JsonProgress()
    for number in range(1, 9):
        job.again(number, 8)
        clock.seconds += 0.25
    again = [{"event": "again", "frames": number, "total": 8} for number in (1, 5)]
    assert events(capsys) == again


def test_json_says_why_a_job_failed(capsys: pytest.CaptureFixture[str]) -> None:
    JsonProgress().fail("in.mp4: no such file", 3)
    assert events(capsys) == [{"event": "error", "text": "in.mp4: no such file", "exit_status": 3}]


def said_by(clock: Clock, total: int | None, resumed: int, frames: int, step: float) -> str:
    """What a job off a terminal says."""
    text = io.StringIO()
    with JobProgress(Console(file=text, soft_wrap=True), "go cheap", quiet=False) as job:
        job.begin(SETTINGS, total, resumed)
        for _ in range(frames):
            clock.seconds += step
            job.update()
        job.done("out.mp4", resumed + frames)
    return text.getvalue()


def test_a_person_reads_settings_estimate_and_lines(clock: Clock) -> None:
    lines = said_by(clock, 40, 0, 40, 0.5).splitlines()
    assert lines[0].endswith("h264 64x48 yuv420p 29.97 frames/s")
    assert lines[4] == "about 20 s for 40 frames at 2.00 frames/s"
    assert lines[5] == "20/40 frames, 2.00 frames/s, 10 s left"
    assert lines[-1] == "out.mp4: 40 frames in 20 s, 2.00 frames/s"


def test_a_resumed_job_estimates_what_is_left(clock: Clock) -> None:
    lines = said_by(clock, 8000, 800, 10, 1.25).splitlines()
    assert lines[3] == "needs 3 MiB of memory, after 800 frames that are done"
    assert "about 2 h 30 min for 7200 frames at 0.80 frames/s; go cheap" in lines


def test_a_job_of_unknown_length_says_how_far_it_is(clock: Clock) -> None:
    lines = said_by(clock, None, 0, 24, 0.5).splitlines()
    assert "20 frames, 2.00 frames/s" in lines and not any("about" in line for line in lines)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_person_reads_what_is_decoded_again(clock: Clock, quiet: bool) -> None:
    text = io.StringIO()
    with JobProgress(Console(file=text), "", quiet=quiet) as job:
        for number in range(1, 31):
            clock.seconds += 0.5
            job.again(number, 30)
    line = "damage: decoding again, 20/30 frames\n"
    assert text.getvalue() == ("" if quiet else line)


def test_a_bar_says_what_is_decoded_again() -> None:
    text = io.StringIO()
    with JobProgress(Console(file=text, force_terminal=True, width=120), "", quiet=False) as job:
        job.begin(SETTINGS, 40)
        job.again(20, 30)
    assert "damage: decoding again, 20/30 frames" in text.getvalue()


def test_quiet_leaves_warnings_and_errors(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    text = io.StringIO()
    with JobProgress(Console(file=text), "", quiet=True) as job:
        job.begin(SETTINGS, 3)
        for _ in range(3):
            clock.seconds += 20
            job.update()
        job.warn("odd")
        job.fail("broken", 3)
        job.done("out.mp4", 3)
    assert text.getvalue() == ""
    assert capsys.readouterr().err == "sapnet-stream: warning: odd\nsapnet-stream: broken\n"
