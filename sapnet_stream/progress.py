"""How far a job is, for a person: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from sapnet_stream.errors import one_line
from sapnet_stream.folder import FolderReport

LINE_SECONDS = 10.0
ESTIMATE_FRAMES = 5
HOUR_SECONDS = 3600.0


@dataclass(frozen=True)
class JobSettings:
    """What is in effect, defaults included.

    Attributes:
        input, output: paths.
        codec, width, height, pixel_format, frames_per_second: of the source's video.
        network: what derains, on which device, in which arithmetic.
        weights: their name.
        strength: 0 to 1.
        encoder: with its options.
        needs: of memory and disk, about.
    """

    input: str
    output: str
    codec: str
    width: int
    height: int
    pixel_format: str
    frames_per_second: float
    network: str
    weights: str
    strength: float
    encoder: str
    needs: str

    def __str__(self) -> str:
        return (
            f"{one_line(self.input)}: {self.codec} {self.width}x{self.height} {self.pixel_format} "
            f"{self.frames_per_second:.4g} frames/s\n"
            f"network: {self.network}, weights {self.weights}, strength {self.strength:g}\n"
            f"{one_line(self.output)}: {self.encoder}\n"
            f"needs {self.needs}"
        )


class Pace:
    """How fast frames come.

    Args:
        total: frames of the whole job, None if unknown.
        resumed: of these, done by an earlier run.

    Attributes:
        total: as given.
        todo: frames left to this run when it began, None if unknown.
        frames: done by this run.
        frames_per_second: None before the second frame.
    """

    def __init__(self, total: int | None, resumed: int = 0) -> None:
        self.total = total
        self.todo = None if total is None else max(0, total - resumed)
        self.frames = 0
        self.frames_per_second: float | None = None
        self._resumed = resumed
        self._first_seconds = 0.0

    @property
    def done(self) -> int:
        """Frames of the job, those of an earlier run included."""
        return self._resumed + self.frames

    def update(self) -> float | None:
        """Take note of one more frame; returns the frames/s."""
        now = time.monotonic()
        self.frames += 1
        if self.frames == 1:
            # Opening and warming up end with the first frame.
            self._first_seconds = now
        else:
            elapsed = max(now - self._first_seconds, 1e-9)
            self.frames_per_second = (self.frames - 1) / elapsed
        return self.frames_per_second

    @property
    def seconds_left(self) -> float | None:
        """Until the last frame at this speed, None if unknown."""
        if self.todo is None or self.frames_per_second is None:
            return None
        return max(0, self.todo - self.frames) / self.frames_per_second


class JobProgress:
    """Shows frames done, frames/s and the time left; silent when `quiet`.

    Args:
        console: where to write.
        cheaper: sentence that names a faster setting, said if the job takes hours.
        quiet: say nothing.
    """

    def __init__(self, console: Console, cheaper: str, *, quiet: bool) -> None:
        self._console = console
        self._cheaper = cheaper
        self._quiet = quiet
        self._began_seconds = self._said_seconds = time.monotonic()
        self._pace = Pace(None)
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()

    def begin(self, settings: JobSettings, total: int | None, resumed: int = 0) -> None:
        """Say what will happen.

        Args:
            settings: what is in effect.
            total: frames of the whole job, None if the source does not say.
            resumed: of these, done by an earlier run.
        """
        self._pace = Pace(total, resumed)
        if self._quiet:
            return
        done = f", after {resumed} frames that are done" if resumed else ""
        self._console.print(f"{settings}{done}")
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("derain"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(compact=True),
                console=self._console,
            )
            self._task = self._bar.add_task("derain", total=total, completed=resumed, rate="")
            self._bar.start()

    def update(self) -> None:
        """Show that one more frame is done; from any thread, one at a time."""
        rate = self._pace.update()
        if rate is None or self._quiet:
            return
        if self._pace.frames == ESTIMATE_FRAMES:
            self._estimate(rate)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._pace.done, rate=f"{rate:.2f} frames/s")
        elif time.monotonic() - self._said_seconds >= LINE_SECONDS:
            self._said_seconds = time.monotonic()
            self._console.print(self._line(rate))

    def again(self, done: int, total: int) -> None:
        """Show how many frames before a damage were decoded a second time; from any thread."""
        text = f"damage: decoding again, {done}/{total} frames"
        if self._bar is not None:
            self._bar.update(self._task, rate=text)
        elif not self._quiet and time.monotonic() - self._said_seconds >= LINE_SECONDS:
            self._said_seconds = time.monotonic()
            self._console.print(text)

    def warn(self, text: str) -> None:
        """Say what was not quite as it should be, even when quiet."""
        print(f"sapnet-stream: warning: {one_line(text)}", file=sys.stderr)

    def fail(self, text: str, _: int) -> None:
        """Say why the job ends, even when quiet."""
        self._end_bar()
        print(f"sapnet-stream: {one_line(text)}", file=sys.stderr)

    # Whether it was a person's wish makes no difference to how it is said.
    stopped = fail

    def done(self, output: str, frames: int) -> None:
        """Say what was written, and how fast."""
        self._end_bar()
        seconds = time.monotonic() - self._began_seconds
        if self._pace.frames:
            speed = f", {self._pace.frames / seconds:.2f} frames/s"
            self.note(f"{output}: {frames} frames in {duration(seconds)}{speed}")
        else:
            self.note(f"{output}: done in {duration(seconds)}")

    def note(self, text: str) -> None:
        """Say something that is no warning."""
        if not self._quiet:
            self._console.print(one_line(text))

    def file(self, number: int, total: int, path: Path) -> None:
        """Say which file of a folder comes now."""
        self._began_seconds = time.monotonic()
        self._pace = Pace(None)
        self.note(f"{number}/{total} {path}")

    def summary(self, report: FolderReport) -> None:
        """Say what became of a folder."""
        self.note(str(report))

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _estimate(self, rate: float) -> None:
        todo = self._pace.todo
        if todo is None:
            return
        text = f"about {duration(todo / rate)} for {todo} frames at {rate:.2f} frames/s"
        if todo / rate > HOUR_SECONDS:
            text += f"; {self._cheaper}"
        self._console.print(text)

    def _line(self, rate: float) -> str:
        frames, left = self._pace.done, self._pace.seconds_left
        if left is None:
            return f"{frames} frames, {rate:.2f} frames/s"
        return f"{frames}/{self._pace.total} frames, {rate:.2f} frames/s, {duration(left)} left"


def duration(seconds: float) -> str:
    """Seconds as "45 s", "3 min 20 s" or "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < HOUR_SECONDS:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
