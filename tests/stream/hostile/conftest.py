"""The command with a network that changes nothing, watched for all it must not do."""

import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from sapnet_stream import cli
from sapnet_stream.engine import DerainEngine

CHILD = Path(__file__).with_name("decoder_child.py")


class Unchanged:
    """Stands in for the network."""

    name = "unchanged"

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


@dataclass(frozen=True)
class Outcome:
    """What the command did.

    Attributes:
        status: it exited with.
        said: on standard error.
        changed: names of files in its folder that came, went or changed.
    """

    status: int
    said: str
    changed: set[str]


def _contents(folder: Path) -> dict[str, str]:
    """A digest of every file; links, pipes and folders by their kind alone."""
    found = {}
    for path in folder.rglob("*"):
        plain = path.is_file() and not path.is_symlink() and os.access(path, os.R_OK)
        kind = oct(stat.S_IFMT(path.lstat().st_mode))
        content = hashlib.sha256(path.read_bytes()).hexdigest() if plain else kind
        found[str(path.relative_to(folder))] = content
    return found


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Runs the command in the test's folder; what it says must not hold control characters."""

    def engine(*_: object, **__: Any) -> DerainEngine:
        return DerainEngine(executor=Unchanged())

    def run(*arguments: str | Path) -> Outcome:
        before = _contents(tmp_path)
        capfd.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        said = capfd.readouterr()
        assert said.out == ""
        assert all(line.isprintable() for line in said.err.split("\n")), said.err
        after = _contents(tmp_path)
        changed = {n for n in {**before, **after} if before.get(n) != after.get(n)}
        return Outcome(status, said.err, changed)

    monkeypatch.setattr(cli, "DerainEngine", engine)
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def refused(command: Callable[..., Outcome]) -> Callable[..., str]:
    """Runs the command, which must refuse in one sentence and leave the folder as it was."""

    def run(status: int, *arguments: str | Path) -> str:
        outcome = command(*arguments)
        assert (outcome.status, outcome.changed) == (status, set()), outcome
        assert outcome.said.startswith("sapnet-stream: ")
        assert outcome.said.count("\n") == 1 and outcome.said.endswith("\n")
        return outcome.said

    return run


@pytest.fixture
def port() -> Iterator[int]:
    """A port of this machine that nobody may connect to while the test runs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.fixture(scope="session")
def run_all() -> Callable[[list[Path], str], list[dict[str, Any]]]:
    """Runs "decode" or "derain" on files in children with limits of time and memory.

    One result for each file, see `decoder_child.py`.
    """

    def run(paths: list[Path], work: str) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        while len(results) < len(paths):
            rest = paths[len(results) :]
            done = subprocess.run(
                [sys.executable, CHILD, work],
                input="".join(f"{path}\n" for path in rest),
                capture_output=True,
                text=True,
                check=False,
            )
            answers = [json.loads(line) for line in done.stdout.splitlines()]
            results += answers
            if len(answers) < len(rest):
                # The child died of the file after those it answered for.
                results.append({"crash": f"status {done.returncode}: {done.stderr[-3000:]}"})
        return results

    return run
