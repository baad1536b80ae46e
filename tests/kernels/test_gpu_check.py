"""The script of all that needs a GPU says when a part did not run, was red or had no time."""

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import timing


@pytest.mark.parametrize(
    ("parts", "python", "limit", "status", "said"),
    [
        ("networks ops", "true", "60", 0, "ops: "),
        ("networks ops", "false", "60", 1, "ops: "),
        ("networks", "true", "9", 1, "no time left: kernels/benchmarks/networks.py"),
        ("netwroks ops", "true", "60", 1, "ops: "),
    ],
)
def test_the_check_says_what_did_not_run(
    parts: str, python: str, limit: str, status: int, said: str, tmp_path: Path
) -> None:
    settings = {"PARTS": parts, "PYTHON": python, "LIMIT": limit, "OUT": str(tmp_path / "out")}
    done = subprocess.run(
        ["bash", str(Path(timing.__file__).with_name("gpu_check.sh"))],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert said in (tmp_path / "out" / "benchmarks.txt").read_text()
