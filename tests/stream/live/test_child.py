"""Processes for connections: light, talkative, and ended when asked."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sapnet_stream.live.child import Child
from sapnet_stream.live.fault import Fault
from sapnet_stream.live.session import Outlet


@pytest.mark.parametrize("module", ["receiver", "sender"])
def test_they_load_neither_torch_nor_the_network(module: str) -> None:
    code = (
        f"import sys, sapnet_stream.live.{module}\n"
        "sys.exit(', '.join({'torch', 'rich', 'prometheus_client'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_one_that_crashes_tells_where_and_not_what() -> None:
    child = Child("sapnet_stream.live.sender", {"path": "secret"}, "write")
    assert child.wait(30)
    words = child.last_words()
    child.close()
    assert words["crash"].startswith("KeyError at sender.py:") and "secret" not in str(words)


def test_the_folder_it_is_started_in_is_not_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "av.py").write_text(f"open({str(tmp_path / 'stolen')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    child = Child("sapnet_stream.live.sender", {"path": None}, "write")
    assert child.wait(30)
    assert child.last_words()["crash"].startswith("KeyError at sender.py:")
    child.close()
    assert not (tmp_path / "stolen").exists()


def test_a_module_that_is_none_has_no_last_words() -> None:
    child = Child("sapnet_stream.live.nothing", {}, "read")
    assert child.wait(30)
    assert child.last_words() == {}
    child.close()


def test_a_full_pipe_is_waited_for_only_so_long() -> None:
    child = Child("sapnet_stream.live.sender", {}, "write")
    os.kill(child._process.pid, signal.SIGSTOP)
    outlet = Outlet(child, lambda waited: 0.3 - waited)
    began = time.monotonic()
    for _ in range(3):
        assert outlet.write(bytes(10**6)) == 10**6
    assert outlet.silent and time.monotonic() - began < 20
    child.close()


def test_a_process_that_cannot_be_started_leaves_no_pipe_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Child("sapnet_stream.live.sender", {}, "write")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_faults_are_sentences_of_ours() -> None:
    assert all(fault == fault.value and fault[0].islower() and "\n" not in fault for fault in Fault)
