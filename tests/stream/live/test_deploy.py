"""The files of configs/deploy: they parse, and name only metrics, options and files that exist."""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from sapnet_stream.live.cameras_file import WHOLE, read_cameras
from sapnet_stream.live.metrics import metrics_of
from sapnet_stream.live.options import parser
from sapnet_stream.live.redact import Redactor
from sapnet_stream.live.service import MOST_HELD_SECONDS, Service

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "configs" / "deploy"
UNIT = DEPLOY / "sapnet-stream@.service"
UNITS = (UNIT, DEPLOY / "sapnet-stream-cameras.service")


def options(text: str) -> set[str]:
    """The names of those in a command line."""
    return set(re.findall(r"(?<![\w-])--[a-z-]+", text))


def known() -> set[str]:
    return {name for action in parser()._actions for name in action.option_strings}


def test_the_dashboard_asks_for_metrics_that_are_served(
    camera: Any,
    run: Callable[..., Any],
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 0)
    job = run(camera.url("camera.mp4"))
    eventually(lambda: job.status.frames_out > 0)
    families = list(text_string_to_metric_families(metrics_of(lambda: [job.status])().decode()))
    served = {family.name for family in families}
    served |= {sample.name for family in families for sample in family.samples}
    # A job without outputs serves nothing of them, but says that there are such metrics.
    served |= {"sapnet_output_sent_total", "sapnet_output_skipped_total"}
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [variable["query"] for variable in dashboard["templating"]["list"]]
    asked = set(re.findall(r"\b(?:sapnet|process)_\w+", " ".join(queries)))
    assert len(asked) > 12 and asked <= served
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_unit_gives_options_that_there_are_and_no_password() -> None:
    command = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert len(command) == 1
    assert options(command[0]) <= known() and "--password-file %d/password" in command[0]


def test_the_example_of_several_cameras_is_taken_and_the_unit_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = DEPLOY / "cameras.yaml"
    path = tmp_path / example.name
    path.write_text(example.read_text().replace("/var/lib/sapnet-stream", str(tmp_path)))
    for name in ("YARD", "GATE"):
        monkeypatch.setenv(name, "pass-word")
    file = read_cameras(path, Redactor())
    assert list(file.cameras) == ["yard", "gate"] and file.warning is None
    # It says which options are for all.
    assert all(re.search(rf"\b{name}\b", example.read_text()) for name in WHOLE)
    command = re.findall(r"^ExecStart=(.*)$", UNITS[1].read_text(), re.MULTILINE)
    assert command == [f"/usr/local/bin/sapnet-stream live /etc/sapnet-stream/{example.name}"]


@pytest.mark.parametrize("source", UNITS, ids=lambda path: path.name)
def test_systemd_takes_the_unit(source: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    text = source.read_text().replace("/usr/local/bin/sapnet-stream", sys.executable)
    unit = tmp_path / source.name.replace("@", "@yard")
    unit.write_text(text)
    done = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "sapnet" in line]
    assert not said, done.stderr


def test_the_container_copies_what_there_is_and_gives_options_that_there_are() -> None:
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text())
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY")]
    assert copied and all((ROOT / name).exists() for names in copied for name in names)
    entry = re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    assert options(" ".join(json.loads(entry[0]))) <= known()
    example = text.partition("videos sapnet-stream")[2].partition("FROM")[0]
    assert {"--user", "--password-file"} <= options(example) <= known()
    kinds = {line.split()[0] for line in text.splitlines() if re.match("[A-Z]+ ", line)}
    assert {"FROM", "COPY", "RUN", "USER", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"} <= kinds


def test_systemd_hears_of_progress_and_not_of_a_hang(
    camera: Any,
    run: Callable[..., Any],
    eventually: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = run(camera.url("camera.mp4"))
    eventually(lambda: job.status.frames_out > 0 and job.status.state == "running")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        service, status = Service(), job.status
        service.tick([status])
        assert [manager.recv(99) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
        service.tick([status])
        with pytest.raises(BlockingIOError):
            manager.recv(99)
        eventually(lambda: job.status.frames_out > status.frames_out)
        service.tick([job.status])
        assert manager.recv(99) == b"WATCHDOG=1"
        # Of several cameras one that is stuck is no reason to end the others.
        stuck = job.status
        service.tick([stuck, job.status])
        eventually(lambda: job.status.frames_out > stuck.frames_out)
        service.tick([stuck, job.status])
        assert [manager.recv(99) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        # Until it has been so for long.
        stuck = replace(stuck, state="stuck", held_seconds=MOST_HELD_SECONDS + 1)
        eventually(lambda: job.status.frames_out > stuck.frames_out + 10)
        service.tick([stuck, job.status])
        with pytest.raises(BlockingIOError):
            manager.recv(99)
        # One that is alone is ended as soon as it hangs.
        stuck = replace(stuck, held_seconds=31.0)
        service.tick([stuck])
        assert manager.recv(99) == b"WATCHDOG=1"
        service.tick([stuck])
        with pytest.raises(BlockingIOError):
            manager.recv(99)
    service.tick([job.status])
