"""What a camera job says on standard error: a line that changes, or one JSON object a line.

The objects of `--log json`; keys are added, never renamed or removed:

- event: `text`, one sentence; also warnings;
- status, once a second: the values of `sapnet_stream.live.status.Status`, buckets left out;
- error, stopped: `text`, `exit_status`.

All have `time`, of UTC, as in "2026-11-26T09:30:00.123+00:00".
"""

import json
import shutil
import sys
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TextIO

from sapnet_stream.errors import one_line
from sapnet_stream.live.redact import Redactor
from sapnet_stream.live.status import Status

# Off a terminal nobody sees a line change.
LINE_SECONDS = 10.0
_ERASE = "\r\x1b[2K"


class Console:
    """Says what happens to a camera job; from any thread.

    Args:
        redactor: takes out what must not be shown.
        form: "text" or "json".
        quiet: say nothing but errors.
        file: where to; standard error where None.

    Attributes:
        said: the last change, cleaned; "" before the first.
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
        self._line = ""
        self._said_seconds = time.monotonic()
        self._gone = False
        self.said = ""

    def event(self, text: str) -> None:
        """Say what changed."""
        self.said = self._clean(text)
        if not self._quiet:
            self._say("event", text)

    def status(self, status: Status) -> None:
        """Show how it is going."""
        if self._quiet:
            return
        if self._json:
            self._write(self._object("status", **_values(status)))
        elif self._live:
            with self._lock:
                # One that is broken in two cannot be erased.
                self._line = self._clean(str(status))[: shutil.get_terminal_size().columns - 1]
                self._print(f"{_ERASE}{self._line}")
        elif time.monotonic() - self._said_seconds >= LINE_SECONDS:
            self._said_seconds = time.monotonic()
            self._write(self._clean(str(status)))

    def shown(self, status: Status) -> dict[str, Any]:
        """The values of a status, cleaned, by name."""
        return {name: self._cleaned(each) for name, each in _values(status).items()}

    def end(self, kind: str, text: str, exit_status: int) -> None:
        """Say why the job ends, "error" or "stopped", even when quiet."""
        self._line = ""
        self._say(kind, text, exit_status=exit_status)

    def _say(self, kind: str, text: str, **values: object) -> None:
        if self._json:
            self._write(self._object(kind, text=text, **values))
        else:
            self._write(f"sapnet-stream: {self._clean(text)}")

    def _object(self, kind: str, **values: object) -> str:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return json.dumps({"time": now, "event": kind, **self._cleaned(values)})

    def _cleaned(self, value: Any) -> Any:
        """The texts in it cleaned; not the JSON, where a password may look like a number."""
        if isinstance(value, str):
            return self._clean(value)
        if isinstance(value, dict):
            return {name: self._cleaned(each) for name, each in value.items()}
        return list(map(self._cleaned, value)) if isinstance(value, tuple) else value

    def _clean(self, text: str) -> str:
        return one_line(self._redactor.clean(text))

    def _write(self, line: str) -> None:
        with self._lock:
            erase = _ERASE if self._live else ""
            self._print(f"{erase}{line}\n{self._line}")

    def _print(self, text: str) -> None:
        """Where nobody listens any more, the job goes on in silence."""
        if self._gone:
            return
        try:
            self._file.write(text)
            self._file.flush()
        except OSError:
            self._gone = True


def _values(status: Status) -> dict[str, Any]:
    values = asdict(status)
    # For Prometheus; infinity is no JSON.
    del values["age_buckets"]
    return values
