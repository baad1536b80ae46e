"""What the console says: one line that changes, plain lines, or JSON; never a secret."""

import io
import json
import os

import pytest

from sapnet_stream.live.address import Address, parse_address
from sapnet_stream.live.console import Console
from sapnet_stream.live.redact import Redactor
from sapnet_stream.live.source import State
from sapnet_stream.live.status import SinkStatus, Status

CAMERA = parse_address("rtsp://joe:pass-word@cam/x", "input")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def status(**values: object) -> Status:
    numbers = dict.fromkeys(Status.__annotations__, 0)
    outputs = (SinkStatus("out.mkv", "running", 1, 9, 0), SinkStatus("b", "backing-off", 0, 0, 0))
    base = {**numbers, "state": "running", "camera": CAMERA.shown, "way": "w", "outputs": outputs}
    return Status(**{**base, **values})  # type: ignore[arg-type]


def console(form: str, file: io.StringIO, quiet: bool = False) -> Console:
    return Console(Redactor([CAMERA]), form, quiet=quiet, file=file)


def test_on_a_terminal_there_is_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    file = Terminal()
    shown = console("text", file)
    shown.status(status(frames_out=7, dropped=2))
    shown.event("connected")
    shown.status(status(frames_out=8))
    assert file.getvalue().replace("\r\x1b[2K", "|") == (
        "|running: 7 frames, 0 frames/s in, age 0.00 s, 2 dropped; b backing-of"
        "|sapnet-stream: connected\n"
        "running: 7 frames, 0 frames/s in, age 0.00 s, 2 dropped; b backing-of"
        "|running: 8 frames, 0 frames/s in, age 0.00 s; b backing-off"
    )


def test_several_cameras_have_a_line_each_below_what_stays() -> None:
    file = Terminal()
    shown = console("text", file)
    shown.status(status(), "yard")
    shown.status(status(), "gate")
    shown.event("connected", "gate")
    shown.end("error", "no", 3, "yard")
    shown.status(status(frames_out=1), "gate")
    drawn = file.getvalue().replace("\r\x1b[2K", "|").replace("\x1b[A\x1b[2K", "^")
    line = "running: 0 frames, 0 frames/s in, age 0.00 s; b backing-off"
    assert drawn == (
        f"|yard: {line}"
        f"|yard: {line}\ngate: {line}"
        f"|^sapnet-stream: gate: connected\nyard: {line}\ngate: {line}"
        f"|^sapnet-stream: yard: no\ngate: {line}"
        f"|gate: {line.replace('0 frames,', '1 frames,')}"
    )
    assert shown.said == {"gate": "connected", "yard": "no"}
    shown.clear("gate")
    shown.event("stopped")
    assert file.getvalue().endswith("stopped\n")


def test_more_lines_than_the_terminal_has_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "4")
    file = Terminal()
    shown = console("text", file)
    for number in range(9):
        shown.status(status(), f"camera {number}")
    last = file.getvalue().rpartition("\r")[2]
    assert last.count("\x1b[A") == 2 and last.count("camera") == 3


def test_elsewhere_there_are_lines_now_and_then() -> None:
    file = io.StringIO()
    shown = console("text", file)
    for _ in range(5):
        shown.status(status())
    shown.event(f"lost {CAMERA.url}\x1b[31m\n")
    assert file.getvalue() == "sapnet-stream: lost rtsp://cam/x\\x1b[31m\\n\n"


def test_json_is_one_object_a_line() -> None:
    file = io.StringIO()
    shown = console("json", file)
    shown.status(status(frames_in=3))
    shown.event(f"lost {CAMERA.url}")
    shown.end("error", 'pass-word "quoted"', 3)
    first, second, third = map(json.loads, file.getvalue().splitlines())
    assert (first["event"], first["frames_in"], first["outputs"][0]["sent"]) == ("status", 3, 9)
    assert (second["event"], second["text"]) == ("event", "lost rtsp://cam/x")
    assert (third["text"], third["exit_status"]) == ('*** "quoted"', 3)
    assert "camera" not in second
    shown.event(f"lost {CAMERA.url}", "yard")
    shown.end("error", "no", 3, "yard")
    for text in file.getvalue().splitlines()[3:]:
        assert json.loads(text)["camera"] == "yard"


def test_a_password_like_a_number_or_a_key_breaks_no_json() -> None:
    file = io.StringIO()
    secrets = [Address("rtsp", "cam", "/x", "joe", each) for each in ("1234", "camera", "running")]
    shown = Console(Redactor(secrets), "json", file=file)
    sink = SinkStatus("1234.mkv", "running", 1, 1234, 0)
    shown.status(status(state=State.RUNNING, frames_in=12345, way="camera", outputs=(sink,)))
    said = json.loads(file.getvalue())
    assert (said["frames_in"], said["way"], said["camera"]) == (12345, "***", "rtsp://cam/x")
    assert said["state"] == "running"
    assert (said["outputs"][0]["output"], said["outputs"][0]["sent"]) == ("***.mkv", 1234)


def test_where_nobody_listens_it_falls_silent() -> None:
    end, gone = os.pipe()
    os.close(end)
    file = os.fdopen(gone, "w")
    shown = console("text", file)  # type: ignore[arg-type]
    shown.event("connected")
    shown.end("error", "no", 3)
    with pytest.raises(BrokenPipeError):
        file.close()


def test_quiet_says_errors_alone() -> None:
    file = io.StringIO()
    shown = console("text", file, quiet=True)
    shown.event("connected")
    shown.status(status())
    shown.end("error", "no", 3)
    assert file.getvalue() == "sapnet-stream: no\n"
