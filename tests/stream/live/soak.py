"""Whether the program holds on to memory, files or threads when its camera comes and goes.

    python -m tests.stream.live.soak --csv tests/stream/live/results/soak.csv

runs for 30 minutes, with a reconnect every 20 seconds. The camera is a server of RTSP on this
machine behind a proxy that cuts the connection; the program is the command with its default
network, writing rolling files. A row is written before each cut: of the program's own process,
and memory of its children too.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.stream.live.clip import write_clip
from tests.stream.live.loopback import Camera, Proxy, wait_until

HEADER = ("seconds", "reconnects", "frames", "rss_mb", "family_rss_mb", "files", "threads")
# Of memory: 1 MB a minute with a reconnect every 20 seconds.
MOST_MB_PER_RECONNECT = 1 / 3
# Rows before that are of a program that has not allocated what it needs.
WARM_UP_SHARE = 0.3


@dataclass(frozen=True)
class Soak:
    """What was measured after the warm-up.

    Attributes:
        reconnects: in all.
        mb_per_minute, mb_per_reconnect: of resident memory, by a straight line.
        files, threads: least and most that were open or running.
    """

    reconnects: int
    mb_per_minute: float
    mb_per_reconnect: float
    files: tuple[int, int]
    threads: tuple[int, int]

    @property
    def steady(self) -> bool:
        """Memory does not grow; files and threads stay the same."""
        constant = all(least == most for least, most in (self.files, self.threads))
        return constant and self.mb_per_reconnect < MOST_MB_PER_RECONNECT


def judge(rows: list[tuple[float, ...]]) -> Soak:
    """What the rows say; see `HEADER`."""
    warm = np.array(rows[int(WARM_UP_SHARE * len(rows)) :])
    seconds, reconnects, _, rss, _, files, threads = warm.T
    return Soak(
        int(reconnects[-1]),
        60 * float(np.polyfit(seconds, rss, 1)[0]),
        float(np.polyfit(reconnects, rss, 1)[0]),
        (int(files.min()), int(files.max())),
        (int(threads.min()), int(threads.max())),
    )


def soak(seconds: float, every_seconds: float, path: Path) -> Soak:
    """Run for so long with a cut every so often; writes a row for each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clip(folder / "camera.mp4")
        camera = Camera(folder)
        proxy = Proxy(camera.port)
        log = folder / "log"
        command = [sys.executable, "-m", "sapnet_stream", camera.url("camera.mp4", proxy.port)]
        wishes = ["--segment", "10", "--keep", "3", "--retry-cap", "1", "--log", "json"]
        with log.open("w") as file:
            program = subprocess.Popen([*command, str(folder / "out.mkv"), *wishes], stderr=file)
        try:
            wait_until(lambda: _status(log).get("frames_out", 0) > 20, "the first frames")
            rows = list(_rows(program.pid, log, proxy, seconds, every_seconds))
        finally:
            program.terminate()
            program.wait()
            proxy.close()
            camera.close()
    with path.open("w", newline="") as file_of_rows:
        csv.writer(file_of_rows).writerows([HEADER, *rows])
    return judge(rows)


def _rows(
    pid: int, log: Path, proxy: Proxy, seconds: float, every_seconds: float
) -> Iterator[tuple[float, ...]]:
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(every_seconds)
        status = _status(log)
        elapsed, count = time.monotonic() - began, status["reconnects"]
        yield (round(elapsed, 1), count, status["frames_out"], *_resources(pid))
        _reconnect(log, proxy, count)


def _reconnect(log: Path, proxy: Proxy, count: int) -> None:
    """Cut the connection, and wait for the one after `count` others to bring frames."""
    proxy.cut()
    wait_until(lambda: _status(log)["reconnects"] > count, "a reconnect")
    wait_until(lambda: _status(log)["state"] == "running", "the camera again")


def _status(log: Path) -> dict[str, Any]:
    """The last that the program said of itself."""
    lines = log.read_text().split("\n")[:-1]
    said = (json.loads(line) for line in reversed(lines))
    return next((line for line in said if line["event"] == "status"), {})


def _resources(pid: int) -> tuple[float, float, int, int]:
    """Memory of a process, and with its children, in MB; its open files and threads."""
    family = [pid, *_children(pid)]
    memory = [_resident_mb(each) for each in family]
    files, threads = (len(os.listdir(f"/proc/{pid}/{name}")) for name in ("fd", "task"))
    return round(memory[0], 2), round(sum(memory), 2), files, threads


def _children(pid: int) -> list[int]:
    text = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(each) for each in text.split()]


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Measure and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=float, default=20, metavar="SECONDS")
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"))
    options = parser.parse_args()
    found = soak(60 * options.minutes, options.every, options.csv)
    print(
        f"{found.reconnects} reconnects in {options.minutes:g} minutes: memory "
        f"{found.mb_per_minute:+.3f} MB/min, {found.mb_per_reconnect:+.3f} MB a reconnect; "
        f"files {found.files[0]} to {found.files[1]}, threads {found.threads[0]} to "
        f"{found.threads[1]}"
    )
    raise SystemExit(0 if found.steady else "something grew")


if __name__ == "__main__":
    main()
