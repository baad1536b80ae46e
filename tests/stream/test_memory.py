"""What a machine says it has left."""

from pathlib import Path

import pytest
import torch

from sapnet_stream.networks import memory

CPU = torch.device("cpu")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GiB available and no control group."""
    (tmp_path / "meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n")
    (tmp_path / "cgroup").mkdir()
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "cgroup")
    return tmp_path


def limit(machine: Path, most: str, used: int, files: int) -> None:
    group = machine / "cgroup"
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {files}\n")


def test_what_the_system_has(machine: Path) -> None:
    assert memory.available_bytes(CPU) == 8 * 2**30
    limit(machine, "max", 1000, 0)
    assert memory.available_bytes(CPU) == 8 * 2**30


def test_what_the_control_group_has(machine: Path) -> None:
    limit(machine, str(2 * 2**30), used=2**30, files=2**20)
    assert memory.available_bytes(CPU) == 2**30 + 2**20


def test_a_full_control_group_has_nothing(machine: Path) -> None:
    limit(machine, "1000", used=2000, files=0)
    assert memory.available_bytes(CPU) == 0


def test_a_system_that_does_not_tell_sets_no_limit(machine: Path) -> None:
    (machine / "meminfo").unlink()
    assert memory.available_bytes(CPU) > 2**62
    assert memory.available_bytes(torch.device("mps")) > 2**62


def test_the_error_says_what_and_what_to_do() -> None:
    message = str(memory.too_large(height=10, width=20, needed=3 * 2**30, allowed=7))
    assert "20x10 frame needs 3221225472 bytes (3.00 GiB)" in message
    assert "--memory" in message and "--dtype" in message
