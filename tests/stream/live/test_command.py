"""The command for cameras: options, what it says, and that a signal always ends it."""

import json
import re
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream import cli
from sapnet_stream.errors import UsageError
from sapnet_stream.live.options import is_live, parser
from sapnet_stream.live.ways import ways
from tests.stream.live.program import Program

Eventually = Callable[..., None]


@pytest.mark.parametrize(
    ("arguments", "live"),
    [
        (["rtsp://cam/x", "out.mkv"], True),
        (["--stages", "2", "-", "out.mkv"], True),
        (["in.mp4", "out.mkv", "--realtime"], True),
        (["/dev/video0", "out.mkv"], True),
        (["in.mp4", "out.mkv"], False),
        (["folder", "other"], False),
    ],
)
def test_a_live_stream_is_told_from_a_file(arguments: list[str], live: bool) -> None:
    assert is_live(arguments) == live


def test_help_fits_the_width_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) < 60


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["rtsp://cam/x", "out.avi"], "names no format that is written live"),
        (["rtsp://cam/x", "ftp://out"], "ftp:// is no output that is opened: use rtsp, "),
        (["http://cam/x.m3u8", "out.mkv"], "add --http to allow it"),
        (["in.mp4", "rtsp://out/x"], "add --realtime to treat it as a camera"),
        (["rtsp://cam/x", "none", "--keep", "5"], "--keep is for --segment"),
        (["rtsp://cam/x", "none", "--segment", "0"], "--segment must be more than 0"),
        (["rtsp://cam/x", "none", "--also", "-", "--also", "-"], "can be given once"),
        (["rtsp://cam/x", "none", "--metrics", "0.0.0.0:9100"], "protect it with --token-env"),
        (["rtsp://cam/x", "none", "--preview", "0.0.0.0:80"], "--preview 0.0.0.0:80 is open to"),
        (["rtsp://cam/x", "none", "--retry-cap", "0"], "--retry-cap must be more than 0"),
        (["rtsps://cam/x", "none", "--tls-ca", "/no/file"], "--tls-ca /no/file is not a file"),
        (["rtsp://cam/x", "none", "--retries", "-1"], "--retries must not be negative"),
        (["rtsp://cam/x", "none", "--max-latency", "0"], "--max-latency must be at least 0.1"),
        (["rtsp://cam/x", "none", "--token-env", "NOT_SET"], "NOT_SET of --token-env"),
        (["rtsp://cam/x", "out.mkv", "rtmp://h/live/pass-word"], "rtmp://***"),
        (["rtsp://cam/x", "out.mkv", "--http=rtmp://h/pass-word"], "rtmp://***"),
        (["rtsp://cam/x", "none", "--password-env", "NOT_SET"], "NOT_SET of --password-env"),
        (["rtsp://joe:pass-word@cam/x", "none", "--nonsense"], "unrecognized arguments"),
        (["rtsp://joe:pass-word@cam/x", "rtsp://a:pass-word@b/x", "c://d:pass-word@e"], "c://***"),
        (["rtsp://joe:pass-word/@cam/x", "none"], "the input address is malformed"),
    ],
)
def test_mistakes_are_one_sentence_without_the_password(
    capfd: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert cli.main(arguments) in (2, 4)
    said = capfd.readouterr().err
    assert reason in said and said.count("\n") == 1 and "pass-word" not in said


class Engine:
    """Stands in for an engine: only its name matters here, and whether it remembers."""

    def __init__(self, options: Any) -> None:
        self.description = f"{options.stages or 6} stages"
        self.past_frames = 0 if options.model == "sapnet" else 16


@pytest.mark.parametrize(
    ("wishes", "names"),
    [
        ([], ["6 stages", "3 stages", "2 stages", "1 stages"]),
        (["--when-slow", "drop"], ["6 stages"]),
        (["--when-slow", "smaller"], ["6 stages", "6 stages, at half the size"]),
        (["--when-slow", "fewer-stages"], ["6 stages", "3 stages", "2 stages", "1 stages"]),
        (["--when-slow", "fewer-stages", "--stages", "2"], ["2 stages", "1 stages"]),
    ],
)
def test_ways_from_the_best_to_the_fastest(wishes: list[str], names: list[str]) -> None:
    options = parser().parse_args(["rtsp://cam/x", "none", "--model", "sapnet", *wishes])
    assert [way.name for way in ways(options, Engine)] == names  # type: ignore[arg-type]
    options.model = None
    if not wishes:
        default = [way.name for way in ways(options, Engine)]  # type: ignore[arg-type]
        assert default == ["6 stages", "6 stages, at half the size"]
    if "fewer-stages" in wishes:
        with pytest.raises(UsageError, match="choose smaller"):
            ways(options, Engine)  # type: ignore[arg-type]


def test_a_wrong_password_is_told_and_never_shown(
    refuser: Any, program: Callable[..., Program]
) -> None:
    started = program(
        f"rtsp://127.0.0.1:{refuser.port}/x",
        "none",
        *("--user", "joe-user", "--password-env", "CAMERA", "--log", "json"),
        CAMERA="ünlikely/p@ss:word",
    )
    assert started.wait() == 3
    said = started.hear()
    assert "the user or the password is wrong" in said
    for secret in ("ünlikely", "nlikely", "ss:word", "ss%3Aword", "joe-user"):
        assert secret not in said


def test_a_signal_ends_it_in_every_state(
    camera: Any, proxy: Any, program: Callable[..., Program], eventually: Eventually, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        log = ("--log", "json")
        cases = {
            "connecting": program(f"rtsp://127.0.0.1:{mute.getsockname()[1]}/x", "none", *log),
            "backing-off": program("rtsp://127.0.0.1:1/x", "none", *log),
            "running": program(camera.url("camera.mp4"), tmp_path / "a.mkv", *log),
            "stalled": program(camera.url("camera.mp4", proxy.port), tmp_path / "b.mkv", *log),
        }
        eventually(lambda: "running" in cases["stalled"].states())
        for state, number in zip(cases, (signal.SIGTERM, signal.SIGINT) * 2, strict=True):
            started = cases[state]
            if state == "stalled":
                proxy.stalled = True
            eventually(lambda s=started, state=state: s.states()[-1:] == [state], state)
            status, seconds = started.end(number)
            assert (status, seconds < 5) == (130, True), (state, status, seconds)
            last = json.loads(started.hear().splitlines()[-1])
            assert (last["event"], last["exit_status"]) == ("stopped", 130)
            eventually(lambda s=started: not s.family(), "children ended")
    for name in ("a.mkv", "b.mkv"):
        with av.open(str(tmp_path / name)) as container:
            assert sum(1 for _ in container.decode(video=0)) > 5


def test_a_program_that_is_watched_and_killed_leaves_no_child_and_a_file_that_plays(
    camera: Any, program: Callable[..., Program], eventually: Eventually, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        page = f"http://127.0.0.1:{free.getsockname()[1]}"
    wishes = ("--log", "json", "--metrics", page.rpartition(":")[2], "--preview", "0")
    started = program(camera.url("camera.mp4"), tmp_path / "a.mp4", *wishes)
    eventually(lambda: '"frames_out": 1' in started.hear())
    eventually(lambda: len(started.states()) > 4)
    assert len(started.family()) == 2
    for name, text in {"healthz": "alive", "readyz": "running", "metrics": "sapnet_age"}.items():
        with urllib.request.urlopen(f"{page}/{name}", timeout=20) as answer:
            assert text in answer.read().decode()
    found = re.search(r"the preview is at (http://127.0.0.1:\d+/)", started.hear())
    assert found is not None
    for name, text in {"": "<!doctype html>", "status": '"state": "running"'}.items():
        with urllib.request.urlopen(found[1] + name, timeout=20) as answer:
            assert text in answer.read().decode()
    started.end(signal.SIGKILL)
    eventually(lambda: not started.family())
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) > 40


def test_from_standard_input_to_standard_output(
    make_clip: Callable[..., Path], program: Callable[..., Program], tmp_path: Path
) -> None:
    clip = make_clip("in.ts", "libx264", ticks=range(30), noise=False)
    started = program("-", "-", "--realtime", "--log", "json", stdin=clip)
    assert started.wait() == 0
    with av.open(str(tmp_path / "out-0"), format="mpegts") as container:
        assert sum(1 for _ in container.decode(video=0)) > 20
    assert all(json.loads(line)["time"] for line in started.hear().splitlines())
