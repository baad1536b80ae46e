"""How far a job is, for a person: a bar on a terminal, plain lines elsewhere."""

import time
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

LINE_SECONDS = 10.0
ESTIMATE_FRAMES = 5
HOUR_SECONDS = 3600.0


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
        self._total: int | None = None
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._first_seconds = self._said_seconds = time.monotonic()

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

    def begin(self, settings: str, total: int | None) -> None:
        """Say what will happen; `total` frames are to come, None if the source does not say."""
        self._total = total
        if self._quiet:
            return
        self._console.print(settings)
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("derain"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(compact=True),
                console=self._console,
            )
            self._task = self._bar.add_task("derain", total=total, rate="")
            self._bar.start()

    def update(self, frames: int) -> None:
        """Show that so many frames are done."""
        if self._quiet:
            return
        now = time.monotonic()
        if frames == 1:
            # Opening and warming up end with the first frame.
            self._first_seconds = now
            return
        rate = (frames - 1) / max(now - self._first_seconds, 1e-9)
        if frames == ESTIMATE_FRAMES and self._total is not None:
            self._estimate(rate, self._total)
        if self._bar is not None:
            self._bar.update(self._task, completed=frames, rate=f"{rate:.2f} frames/s")
        elif now - self._said_seconds >= LINE_SECONDS:
            self._said_seconds = now
            self._console.print(self._line(frames, rate))

    def _estimate(self, rate: float, total: int) -> None:
        seconds = total / rate
        text = f"about {duration(seconds)} for {total} frames at {rate:.2f} frames/s"
        if seconds > HOUR_SECONDS:
            text += f"; {self._cheaper}"
        self._console.print(text)

    def _line(self, frames: int, rate: float) -> str:
        if self._total is None:
            return f"{frames} frames, {rate:.2f} frames/s"
        left = duration(max(0, self._total - frames) / rate)
        return f"{frames}/{self._total} frames, {rate:.2f} frames/s, {left} left"


def duration(seconds: float) -> str:
    """Seconds as "45 s", "3 min 20 s" or "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < HOUR_SECONDS:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
