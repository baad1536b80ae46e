"""The command for several cameras: its file read again, what it serves, and how it ends."""

import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream import cli
from tests.stream.live.loopback import free_port
from tests.stream.live.program import Program

Eventually = Callable[..., None]
Start = Callable[..., Program]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode("latin-1")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def frames(program: Program, camera: str) -> int:
    lines = program.lines(camera=camera)
    return int(lines[-1]["frames_out"]) if lines else 0


def events(program: Program) -> str:
    return " ".join(line["text"] for line in program.lines("event"))


def hang_up(program: Program) -> None:
    assert program.process.pid is not None
    os.kill(program.process.pid, signal.SIGHUP)


def test_a_mistake_is_one_sentence_before_anything_starts(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "cameras.yaml"
    camera = "{input: 'rtsp://joe:pass-word@127.0.0.1:1/x', output: none, retries: -1}"
    path.write_text(f"cameras: {{a: {camera}}}")
    assert cli.main(["live", str(path)]) == 2
    said = capfd.readouterr().err
    assert said == f"sapnet-stream: {path}: camera a: --retries must not be negative, got -1\n"
    assert cli.main(["live", str(tmp_path / "none")]) == 3
    assert cli.main(["live"]) == 2
    assert capfd.readouterr().err.count("\n") == 2


def test_hanging_up_reads_the_file_again_and_touches_only_what_changed(
    camera: Any, program: Start, eventually: Eventually, tmp_path: Path
) -> None:
    path, url = tmp_path / "cameras.yaml", camera.url("camera.mp4")

    def write(*lines: str) -> None:
        whole = "log: json\ndefaults: {preset: ultrafast, retry-cap: 0.5}\n"
        path.write_text(f"{whole}cameras:\n" + "".join(f"  {each}\n" for each in lines))

    kept = f"kept: {{input: {url}, output: {tmp_path}/kept.mkv}}"
    write(kept, f"old: {{input: {url}, output: {tmp_path}/old.mkv}}")
    started = program("live", path)
    eventually(lambda: frames(started, "kept") > 10 and frames(started, "old") > 10)
    for broken, reason in {
        "[": "this is not YAML as it is needed here; everything goes on as it was",
        f"{kept}\n  bad: {{input: {url}}}": "camera bad: output is missing",
    }.items():
        write(broken)
        hang_up(started)
        eventually(lambda reason=reason: reason in events(started), reason)
    write(kept)
    path.write_text(path.read_text().replace("log: json", "log: text"))
    hang_up(started)
    eventually(lambda: "log cannot change while the program runs: restart it" in events(started))

    write(f"new: {{input: {url}, output: none}}", kept)
    hang_up(started)
    eventually(lambda: "again: 1 new, 0 changed, 1 removed, 1 as they were" in events(started))
    eventually(lambda: frames(started, "new") > 10)
    eventually(lambda: started.lines("event", "old")[-1]["text"].startswith("stopped; "))
    with av.open(str(tmp_path / "old.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) > 10
    status, seconds = started.end(signal.SIGTERM)
    assert (status, seconds < 5) == (130, True)
    counts = [line["frames_out"] for line in started.lines(camera="kept")]
    assert counts == sorted(counts) and counts[-1] > counts[0]
    assert {line["reconnects"] for line in started.lines(camera="kept")} == {0}
    said = started.lines("event", "kept")
    assert sum(line["text"].startswith("connected") for line in said) == 1
    with av.open(str(tmp_path / "kept.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) >= counts[-1]
    assert json.loads(started.hear().splitlines()[-1])["event"] == "stopped"
    eventually(lambda: not started.family(), "children ended")


def test_each_camera_has_its_name_in_all_that_is_served(
    camera: Any, refuser: Any, program: Start, eventually: Eventually, tmp_path: Path
) -> None:
    port, path = free_port(), tmp_path / "cameras.yaml"
    lost = f"rtsp://joe:pass-word@127.0.0.1:{refuser.port}/x"
    path.write_text(
        f"log: json\nmetrics: {port}\npreview: 0\ncameras:\n"
        f"  yard: {{input: '{camera.url('camera.mp4')}', output: none}}\n"
        f"  gate: {{input: '{lost}', output: none}}\n"
    )
    path.chmod(0o644)
    started = program("live", path)
    page = f"http://127.0.0.1:{port}"
    eventually(lambda: frames(started, "yard") > 10)
    eventually(lambda: "password is wrong; the next attempt" in events(started))
    assert "everybody here can read it" in events(started)
    status, ready = get(f"{page}/readyz")
    assert status == 503 and ready.startswith("gate: ") and "yard" not in ready
    assert get(f"{page}/healthz")[0] == 200
    metrics = get(f"{page}/metrics")[1]
    for name in ("yard", "gate"):
        assert len(re.findall(rf'^sapnet_frames_out_total{{camera="{name}"}}', metrics, re.M)) == 1
    assert metrics.count("# TYPE sapnet_frames_out_total") == 1
    found = re.search(r"http://127.0.0.1:\d+/", events(started))
    assert found is not None
    for query, name in {"": "yard", "?camera=gate": "gate", "?camera=yard": "yard"}.items():
        shown = json.loads(get(f"{found[0]}status{query}")[1])
        assert shown["camera"] == name
        assert [each for each, _ in shown["cameras"]] == ["yard", "gate"]
        assert shown["cameras"][0][1] == "running" != shown["cameras"][1][1]
    assert "password is wrong" in json.loads(get(f"{found[0]}status?camera=gate")[1])["said"]
    assert get(f"{found[0]}status?camera=none")[0] == 404
    eventually(lambda: len(get(f"{found[0]}picture?seen=0&camera=yard")[1]) > 0)
    assert get(f"{found[0]}picture?seen=0&camera=gate") == (200, "")
    assert get(f"{found[0]}picture?camera=none")[0] == 404
    assert started.end(signal.SIGINT)[0] == 130
    assert "pass-word" not in started.hear() + metrics + ready


def test_when_all_have_ended_the_status_is_the_worst(
    refuser: Any, make_clip: Callable[..., Path], program: Start, tmp_path: Path
) -> None:
    clip = make_clip("in.ts", "libx264", ticks=range(5), noise=False)
    path = tmp_path / "cameras.yaml"
    path.write_text(
        "log: json\nquiet: true\ncameras:\n"
        f"  file: {{input: {clip}, realtime: true, output: {tmp_path}/out.mkv}}\n"
        f"  gate: {{input: 'rtsp://127.0.0.1:{refuser.port}/x', output: none, persist: false}}\n"
    )
    started = program("live", path)
    assert started.wait() == 3
    first, last = started.lines("error")
    assert (first["camera"], first["exit_status"], last["exit_status"]) == ("gate", 3, 3)
    assert "camera" not in last and "no camera is left" in last["text"]
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) > 0
