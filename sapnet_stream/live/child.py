"""Processes of our own that talk to the network, and can be ended at any moment.

Opening a stream, looking up a name and sending to a full connection cannot be interrupted
inside FFmpeg. So each connection has a process: it copies packets between the network and a
pipe, and whoever holds the other end of the pipe never waits longer than it wants. What
leaks, crashes or leaves a password in a library's message stays in that process.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import FileIO
from typing import IO, Any, Literal, NoReturn

from sapnet_stream.live.fault import Fault, mistake

_PARENT_SECONDS = 1.0
_END_SECONDS = 1.0


class Child:
    """A module of this package as a process, joined by a pipe of data and one of reports.

    Args:
        module: its name; `attend` is what it calls first.
        settings: handed over through a pipe, where no other process can read them.
        data: whether this side reads or writes the pipe of data.
        stdin, stdout: of the process, where an address is "-".

    Attributes:
        data: this end of the pipe of data.
        words: all that it has reported so far, the latest of each name.

    Raises:
        OSError: there are too many processes or open files.
    """

    def __init__(
        self,
        module: str,
        settings: dict[str, Any],
        data: Literal["read", "write"],
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = subprocess.DEVNULL,
    ) -> None:
        ends: list[int] = []
        try:
            for _ in range(3):
                ends += os.pipe()
            reports, report, told, tell = ends[2:]
            ours, theirs = ends[:2] if data == "read" else ends[1::-1]
            self._process = subprocess.Popen(
                # Not from the folder it was started in, which may hold an av.py of others.
                [sys.executable, "-P", "-m", module, str(told), str(theirs), str(report)],
                pass_fds=(told, theirs, report),
                stdin=stdin,
                stdout=stdout,
                # Libraries write addresses there.
                stderr=subprocess.DEVNULL,
                # Ctrl-C on the terminal is for the parent alone.
                start_new_session=True,
            )
        except OSError:
            for end in ends:
                os.close(end)
            raise
        for end in (told, theirs, report):
            os.close(end)
        self.data = FileIO(ours, "rb" if data == "read" else "wb")
        self._reports = FileIO(reports)
        self._left = b""
        self.words: dict[str, Any] = {}
        try:
            with os.fdopen(tell, "w") as pipe:
                pipe.write(json.dumps(settings))
        except BrokenPipeError:
            # It died already; the pipes will say so.
            return

    def reports(self, wait_seconds: float = 0) -> Iterator[dict[str, Any]]:
        """What it has reported since the last time; waits for more until it closes its end.

        Args:
            wait_seconds: how long at most; 0 takes what is there.
        """
        until = time.monotonic() + wait_seconds
        while readable(self._reports, max(0, until - time.monotonic())):
            more = self._reports.read(1 << 16)
            if not more:
                return
            *lines, self._left = (self._left + more).split(b"\n")
            for line in lines:
                report = json.loads(line)
                self.words |= report
                yield report

    def last_words(self) -> dict[str, Any]:
        """All that it reported, the latest of each name, once it has ended."""
        for _ in self.reports(_END_SECONDS):
            pass
        return self.words

    def wait(self, seconds: float) -> bool:
        """Whether it ends by itself within `seconds`."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it now; from any thread, any number of times."""
        self._process.kill()
        self._process.wait()

    def close(self, farewell_seconds: float = 0) -> None:
        """End it and let go of the pipes.

        Args:
            farewell_seconds: what it may take to notice that nobody reads on, and to say goodbye.
        """
        self.data.close()
        self.wait(farewell_seconds)
        self.kill()
        self._reports.close()


def readable(file: FileIO, seconds: float) -> bool:
    """Whether there is something to read, or the end, within `seconds`."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Reports:
    """Where a child tells its parent; one JSON object a line."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe

    def write(self, **values: object) -> None:
        """Tell some values by name."""
        self._pipe.write(json.dumps(values) + "\n")
        self._pipe.flush()


def attend(
    work: Callable[[dict[str, Any], FileIO, Reports], Fault],
    arguments: list[str],
    data: Literal["rb", "wb"],
) -> NoReturn:
    """All that a child does: `work`, with its settings, its end of the data and its reports."""
    told, end, report = map(int, arguments)
    with os.fdopen(told) as pipe:
        settings = json.load(pipe)
    # Service managers send it to all processes of a service; the parent says when to end.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    reports = Reports(os.fdopen(report, "w"))
    try:
        try:
            reports.write(fault=work(settings, FileIO(end, data), reports))
        except Exception as error:  # noqa: BLE001 - told to the parent, and this is the end
            reports.write(crash=mistake(error))
    finally:
        # Without waiting for any connection to close.
        os._exit(0)
