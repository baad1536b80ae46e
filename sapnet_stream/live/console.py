"""What camera jobs say on standard error: lines that change, or one JSON object a line.

The objects of `--log json`; keys are added, never renamed or removed:

- event: `text`, one sentence; also warnings;
- status, once a second: the values of `sapnet_stream.live.status.Status`, buckets left out;
- error, stopped: `text`, `exit_status`.

All have `time`, of UTC, as in "2026-11-26T09:30:00.123+00:00", and where there are several
cameras all but what is said of the whole program have `camera`, its name.
"""

import json
import shutil
import sys
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

from sapnet_stream.errors import one_line
from sapnet_stream.live.redact import Redactor
from sapnet_stream.live.status import Status

# Off a terminal nobody sees a line change.
LINE_SECONDS = 10.0
_ERASE = "\r\x1b[2K"
_ERASE_ABOVE = "\x1b[A\x1b[2K"


class Console:
    """Says what happens to one camera job or several; from any thread.

    Of several, each has a name, and a status line of its own; of one the name is "".

    Args:
        redactor: takes out what must not be shown.
        form: "text" or "json".
        quiet: say nothing but errors.
        file: where to; standard error where None.

    Attributes:
        said: the last change, cleaned, by the camera's name.
    """

    def __init__(
        self, redactor: Redactor, form: str, *, quiet: bool = False, file: TextIO | None = None
    ) -> None:
        self._redactor = redactor
        self._json = form == "json"
        self._quiet = quiet
        self._file = file or sys.stderr
        self._live = not self._json and not quiet and self._file.isatty()
        self._lock = threading.Lock()
        self._lines: dict[str, str] = {}
        self._drawn = 0
        self._began_seconds = time.monotonic()
        self._said_seconds: dict[str, float] = {}
        self._gone = False
        self.said: dict[str, str] = {}

    def event(self, text: str, camera: str = "") -> None:
        """Say what changed."""
        self.said[camera] = self._clean(text)
        if not self._quiet:
            self._say("event", text, camera)

    def status(self, status: Status, camera: str = "") -> None:
        """Show how it is going."""
        if self._quiet:
            return
        line = f"{_named(camera)}{status}"
        now = time.monotonic()
        if self._json:
            self._write(self._object("status", **_values(status)))
        elif self._live:
            with self._lock:
                # One that is broken in two cannot be erased.
                line = self._clean(line)[: shutil.get_terminal_size().columns - 1]
                self._lines[camera] = line
                self._draw()
        elif now - self._said_seconds.get(camera, self._began_seconds) >= LINE_SECONDS:
            self._said_seconds[camera] = now
            self._write(self._clean(line))

    def shown(self, status: Status) -> dict[str, Any]:
        """The values of a status, cleaned, by name."""
        return {name: self._cleaned(each) for name, each in _values(status).items()}

    def end(self, kind: str, text: str, exit_status: int, camera: str = "") -> None:
        """Say why a job ends, "error" or "stopped", even when quiet; without a name, why all do."""
        self.said[camera] = self._clean(text)
        self.clear(camera)
        self._say(kind, text, camera, exit_status=exit_status)

    def clear(self, camera: str = "") -> None:
        """Draw the status line of a camera no more; without a name, none."""
        with self._lock:
            for name in [camera] if camera else list(self._lines):
                self._lines.pop(name, None)

    def _say(self, kind: str, text: str, camera: str, **values: object) -> None:
        if self._json:
            named = {"camera": camera} if camera else {}
            self._write(self._object(kind, **named, text=text, **values))
        else:
            self._write(f"sapnet-stream: {self._clean(_named(camera) + text)}")

    def _object(self, kind: str, **values: object) -> str:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return json.dumps({"time": now, "event": kind, **self._cleaned(values)})

    def _cleaned(self, value: Any) -> Any:
        """The texts in it cleaned; not the JSON, where a password may look like a number.

        Nor the states, which are words of ours.
        """
        if isinstance(value, str) and not isinstance(value, StrEnum):
            return self._clean(value)
        if isinstance(value, dict):
            return {name: self._cleaned(each) for name, each in value.items()}
        return list(map(self._cleaned, value)) if isinstance(value, tuple) else value

    def _clean(self, text: str) -> str:
        return one_line(self._redactor.clean(text))

    def _write(self, line: str) -> None:
        with self._lock:
            self._draw(f"{line}\n")

    def _draw(self, above: str = "") -> None:
        """The lines that change anew, below what stays."""
        erase = _ERASE + _ERASE_ABOVE * (self._drawn - 1) if self._live else ""
        # What has scrolled away cannot be erased.
        lines = list(self._lines.values())[: shutil.get_terminal_size().lines - 1]
        self._drawn = len(lines)
        self._print(erase + above + "\n".join(lines))

    def _print(self, text: str) -> None:
        """Where nobody listens any more, the job goes on in silence."""
        if self._gone:
            return
        try:
            self._file.write(text)
            self._file.flush()
        except OSError:
            self._gone = True


def _named(camera: str) -> str:
    return camera and f"{camera}: "


def _values(status: Status) -> dict[str, Any]:
    values = asdict(status)
    # For Prometheus; infinity is no JSON.
    del values["age_buckets"]
    return values
