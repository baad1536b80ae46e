"""How far a job is: for a person a bar or plain lines, for a program one JSON object a line.

The events of `--progress json`, on stdout; keys are added, never renamed or removed:

- start: `input`, `output`, `codec`, `width`, `height`, `pixel_format`, `frames_per_second`,
  `network`, `weights`, `strength`, `encoder`; `frames` (of the whole job, null if the source
  does not say) and `resumed_frames` (of these, done by an earlier run);
- progress, about once a second: `frames` (done, resumed ones included), `total` (or null),
  `frames_per_second` of this run and `seconds_left` (null until known);
- warning: `text`; error: `text`, `exit_status`; one sentence each;
- done: `output`, `frames`, `seconds`, `frames_per_second`.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from types import TracebackType
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

from sapnet_stream.errors import OutputError

LINE_SECONDS = 10.0
EVENT_SECONDS = 1.0
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

    def __str__(self) -> str:
        return (
            f"{self.input}: {self.codec} {self.width}x{self.height} {self.pixel_format} "
            f"{self.frames_per_second:.4g} frames/s\n"
            f"network: {self.network}, weights {self.weights}, strength {self.strength:g}\n"
            f"{self.output}: {self.encoder}"
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

    def update(self, frames: int) -> float | None:
        """Take note that so many frames of the job are done; returns the frames/s."""
        now = time.monotonic()
        self.frames = frames - self._resumed
        if self.frames <= 1:
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, settings: object, total: int | None, resumed: int = 0) -> None:
        """Say what will happen.

        Args:
            settings: what is in effect, as text.
            total: frames of the whole job, None if the source does not say.
            resumed: of these, done by an earlier run.
        """
        self._pace = Pace(total, resumed)
        if self._quiet:
            return
        self._console.print(str(settings))
        if resumed:
            self._console.print(f"{resumed} frames are done already")
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

    def update(self, frames: int) -> None:
        """Show that so many frames are done, those of an earlier run included."""
        if self._quiet:
            return
        rate = self._pace.update(frames)
        if rate is None:
            return
        if self._pace.frames == ESTIMATE_FRAMES:
            self._estimate(rate)
        if self._bar is not None:
            self._bar.update(self._task, completed=frames, rate=f"{rate:.2f} frames/s")
        elif time.monotonic() - self._said_seconds >= LINE_SECONDS:
            self._said_seconds = time.monotonic()
            self._console.print(self._line(frames, rate))

    def warn(self, text: str) -> None:
        """Say what was not quite as it should be, even when quiet."""
        print(f"sapnet-stream: warning: {text}", file=sys.stderr)

    def fail(self, text: str, exit_status: int) -> None:  # noqa: ARG002
        """Say why the job ends, even when quiet."""
        print(f"sapnet-stream: {text}", file=sys.stderr)

    def done(self, output: str, frames: int) -> None:
        """Say what was written."""
        if self._quiet:
            return
        seconds = time.monotonic() - self._began_seconds
        self._console.print(
            f"{output}: {frames} frames in {duration(seconds)}, {frames / seconds:.2f} frames/s"
        )

    def _estimate(self, rate: float) -> None:
        todo = self._pace.todo
        if todo is None:
            return
        text = f"about {duration(todo / rate)} for {todo} frames at {rate:.2f} frames/s"
        if todo / rate > HOUR_SECONDS:
            text += f"; {self._cheaper}"
        self._console.print(text)

    def _line(self, frames: int, rate: float) -> str:
        left = self._pace.seconds_left
        if left is None:
            return f"{frames} frames, {rate:.2f} frames/s"
        return f"{frames}/{self._pace.total} frames, {rate:.2f} frames/s, {duration(left)} left"


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is left open."""

    def begin(self, settings: JobSettings, total: int | None, resumed: int = 0) -> None:
        """Say what will happen; see `JobProgress.begin`."""
        self._pace = Pace(total, resumed)
        _write("start", **asdict(settings), frames=total, resumed_frames=resumed)

    def update(self, frames: int) -> None:
        """Say that so many frames are done, once a second."""
        rate = self._pace.update(frames)
        now = time.monotonic()
        if now - self._said_seconds < EVENT_SECONDS:
            return
        self._said_seconds = now
        _write(
            "progress",
            frames=frames,
            total=self._pace.total,
            frames_per_second=rate,
            seconds_left=self._pace.seconds_left,
        )

    def warn(self, text: str) -> None:
        """Say what was not quite as it should be."""
        _write("warning", text=text)

    def fail(self, text: str, exit_status: int) -> None:
        """Say why the job ends."""
        _write("error", text=text, exit_status=exit_status)

    def done(self, output: str, frames: int) -> None:
        """Say what was written."""
        seconds = time.monotonic() - self._began_seconds
        _write(
            "done",
            output=output,
            frames=frames,
            seconds=seconds,
            frames_per_second=frames / seconds,
        )


def _write(event: str, **values: object) -> None:
    try:
        print(json.dumps({"event": event, **values}), flush=True)
    except BrokenPipeError as error:
        raise OutputError("nobody reads what --progress json writes any more") from error


def duration(seconds: float) -> str:
    """Seconds as "45 s", "3 min 20 s" or "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < HOUR_SECONDS:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
