"""The command as a process of its own."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

# The command with a network that changes nothing, and that takes no time to load.
SCRIPT = """
import os, sys, torch
from sapnet_stream import cli
from sapnet_stream.engine import DerainEngine

class Nothing:
    name = "nothing"
    def __call__(self, image): return image
    def check_memory(self, height, width): pass

os.environ.update(ENVIRONMENT)
for number, name in enumerate(FILES):
    os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
torch.set_num_threads(1)
cli._live_engine = lambda options: DerainEngine(executor=Nothing())
sys.exit(cli.main(ARGUMENTS))
"""
# Forks a process that has imported everything, which takes seconds.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["sapnet_stream.cli", "sapnet_stream.live.fleet_command"])


class Program:
    """The command as a process of its own, whose children can be found by a mark."""

    def __init__(
        self, files: list[Path], arguments: list[str], environment: dict[str, str]
    ) -> None:
        self._log = files[2]
        self.mark = f"SAPNET_TEST_MARK={time.monotonic_ns()}"
        name, _, value = self.mark.partition("=")
        names = {
            "ARGUMENTS": arguments,
            "FILES": [str(each) for each in files],
            "ENVIRONMENT": {name: value, **environment},
        }
        # Tests are in no package, so a process can be given no function of theirs.
        self.process = FORKS.Process(target=exec, args=(SCRIPT, names))
        self.process.start()

    def hear(self) -> str:
        """All that it has said on standard error so far."""
        return self._log.read_text() if self._log.exists() else ""

    def lines(self, kind: str = "status", camera: str | None = None) -> list[dict[str, Any]]:
        """What it has said by `--log json`, of one camera or of all."""
        lines = [json.loads(line) for line in self.hear().split("\n")[:-1]]
        lines = [line for line in lines if line["event"] == kind]
        return [line for line in lines if camera in (None, line.get("camera"))]

    def states(self) -> list[str]:
        """Of the source, by `--log json`."""
        return [line["state"] for line in self.lines()]

    def family(self) -> list[str]:
        """Numbers of its children, which carry the mark."""
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and self.mark in (folder / "environ").read_text():
                    found.append(folder.name)
            except (OSError, UnicodeDecodeError):
                continue
        return found

    def end(self, number: signal.Signals) -> tuple[int | None, float]:
        """Its exit status after a signal, and how long that took."""
        began = time.monotonic()
        assert self.process.pid is not None
        os.kill(self.process.pid, number)
        return self.wait(), time.monotonic() - began

    def wait(self) -> int | None:
        """Its exit status."""
        self.process.join(30)
        return self.process.exitcode
