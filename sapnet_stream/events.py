"""How far a job is, for a program: one JSON object a line.

The events of `--progress json`, on stdout; keys are added, never renamed or removed:

- start: `input`, `output`, `codec`, `width`, `height`, `pixel_format`, `frames_per_second`,
  `network`, `weights`, `strength`, `encoder`, `needs` (a text); `frames` (of the
  whole job, null if the source does not say) and `resumed_frames` (of these, done by an
  earlier run);
- progress, about once a second: `frames` (done, resumed ones included), `total` (or null),
  `frames_per_second` of this run and `seconds_left` (null until known);
- again, about once a second, while damage has frames decoded a second time and no others come:
  `frames` (decoded again), `total` (to be);
- warning, note: `text`; error, stopped: `text`, `exit_status`; one sentence each;
- done: `output`, `frames` (1 for an image), `seconds`, `frames_per_second` of this run (null if
  no frame of a video was left to it);
- of a folder: file, before each: `number`, `total`, `input`; at last folder: `done`, `skipped`,
  `failed`, `exit_status`.
"""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Self

from sapnet_stream.errors import OutputError
from sapnet_stream.folder import FolderReport
from sapnet_stream.progress import JobSettings, Pace

EVENT_SECONDS = 1.0


class JsonProgress:
    """Writes events as JSON, one object a line, flushed, ASCII only; see the module's keys.

    The same methods as `JobProgress`.
    """

    def __init__(self) -> None:
        self._began_seconds = time.monotonic()
        self._said_seconds = -EVENT_SECONDS
        self._pace = Pace(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def begin(self, settings: JobSettings, total: int | None, resumed: int = 0) -> None:
        """Say what will happen; see `JobProgress.begin`."""
        self._pace = Pace(total, resumed)
        _write("start", **asdict(settings), frames=total, resumed_frames=resumed)

    def update(self) -> None:
        """Say how many frames are done, once a second."""
        rate = self._pace.update()
        if self._is_time():
            _write(
                "progress",
                frames=self._pace.done,
                total=self._pace.total,
                frames_per_second=rate,
                seconds_left=self._pace.seconds_left,
            )

    def again(self, done: int, total: int) -> None:
        """Say how many frames before a damage were decoded a second time, once a second."""
        if self._is_time():
            _write("again", frames=done, total=total)

    def warn(self, text: str) -> None:
        """Say what was not quite as it should be."""
        _write("warning", text=text)

    def fail(self, text: str, exit_status: int) -> None:
        """Say why the job ends."""
        _write("error", text=text, exit_status=exit_status)

    def stopped(self, text: str, exit_status: int) -> None:
        """Say what there is of a job that was stopped."""
        _write("stopped", text=text, exit_status=exit_status)

    def done(self, output: str, frames: int) -> None:
        """Say what was written."""
        seconds = time.monotonic() - self._began_seconds
        rate = self._pace.frames / seconds if self._pace.frames else None
        _write("done", output=output, frames=frames, seconds=seconds, frames_per_second=rate)

    def note(self, text: str) -> None:
        """Say something that is no warning."""
        _write("note", text=text)

    def file(self, number: int, total: int, path: Path) -> None:
        """Say which file of a folder comes now."""
        self._began_seconds = time.monotonic()
        self._pace = Pace(None)
        _write("file", number=number, total=total, input=str(path))

    def summary(self, report: FolderReport) -> None:
        """Say what became of a folder."""
        _write(
            "folder",
            done=report.done,
            skipped=report.skipped,
            failed=report.failed,
            exit_status=report.exit_code,
        )

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._said_seconds < EVENT_SECONDS:
            return False
        self._said_seconds = now
        return True


def _write(event: str, **values: object) -> None:
    try:
        # In one piece, for another thread may say something, too.
        print(f"{json.dumps({'event': event, **values})}\n", end="", flush=True)
    except BrokenPipeError as error:
        # What is said from here on, and what Python writes at its end, goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sentence = "nobody reads what --progress json writes any more"
        print(f"sapnet-stream: {sentence}", file=sys.stderr)
        raise OutputError(sentence) from error
