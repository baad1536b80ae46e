"""How soon pictures flow again when a camera is killed and restarted, many times.

    python -m tests.stream.live.restarts --cycles 50 --csv tests/stream/live/results/restarts.csv

Against two independent servers of RTSP on this machine: aio-rtsp-toolkit, and GStreamer where it
is installed. A row is one cycle: from the first attempt after the server was back to the first
picture, and from the server's return to that picture. The longest wait between attempts is two
seconds.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import av

from sapnet_stream.engine import DerainEngine
from sapnet_stream.live.address import Address, parse_address
from sapnet_stream.live.ladder import Way
from sapnet_stream.live.output import Output
from tests.stream.live import gstreamer
from tests.stream.live.clip import write_clip
from tests.stream.live.job import Nothing, Run
from tests.stream.live.loopback import Camera, wait_until

HEADER = ("server", "cycle", "attempt_to_picture_seconds", "return_to_picture_seconds")
CAP_SECONDS = 2.0
MOST_SECONDS = 3.0
PLAYED_FRAMES = 10

Row = tuple[str, int, float, float]


class Server(Protocol):
    """A camera that can be killed and started again."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def restart(name: str, server: Server, address: Address, cycles: int, file: Path) -> list[Row]:
    """Kill and restart a server so often while a job records it.

    Raises:
        AssertionError: it hung, lost pictures, or the file cannot be played.
    """
    engine = DerainEngine(executor=Nothing())
    output = Output(parse_address(str(file), "output"))
    ways = [Way("nothing", lambda: engine.frame)]
    job = Run(address, [output], ways, rescale=False, cap_seconds=CAP_SECONDS)
    try:
        _play(job)
        rows = [(name, cycle, *_cycle(job, server)) for cycle in range(1, cycles + 1)]
    finally:
        status = job.stop()
    assert status.reconnects >= cycles and status.outputs[0].connections == 1
    with av.open(str(file)) as container:
        times = [float(p.time or 0) for p in container.decode(video=0)]
    assert times == sorted(set(times)) and len(times) >= cycles * PLAYED_FRAMES
    return rows


def _cycle(job: Run, server: Server) -> tuple[float, float]:
    server.stop()
    wait_until(lambda: job.status.state == "backing-off", "the loss to be noticed")
    server.start()
    returned, attempts = time.monotonic(), job.attempts
    frames = job.status.frames_out
    wait_until(lambda: job.attempts > attempts or job.status.frames_out > frames, "an attempt")
    attempted = time.monotonic()
    _play(job, frames, 1)
    shown = time.monotonic()
    _play(job)
    return round(shown - attempted, 3), round(shown - returned, 3)


def _play(job: Run, since: int | None = None, count: int = PLAYED_FRAMES) -> None:
    first = job.status.frames_out if since is None else since
    wait_until(lambda: job.status.frames_out >= first + count, "pictures")


def _servers(folder: Path) -> Iterator[tuple[str, Server, Address, Callable[[], None]]]:
    write_clip(folder / "camera.mp4")
    camera = Camera(folder)
    yield "aio-rtsp-toolkit", camera, parse_address(camera.url("camera.mp4"), "input"), camera.close
    if gstreamer.available():
        server = gstreamer.Server(folder / "pushed.h264")
        yield "GStreamer", server, server.camera, server.stop


def measure(cycles: int, path: Path) -> list[Row]:
    """Both servers; writes a row for each cycle."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, server, address, close in _servers(Path(folder)):
            file = Path(folder) / f"{name}.mkv"
            try:
                rows += restart(name, server, address, cycles, file)
            finally:
                close()
    with path.open("w", newline="") as file_of_rows:
        csv.writer(file_of_rows).writerows([HEADER, *rows])
    return rows


def main() -> None:
    """Measure and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--csv", type=Path, default=Path("restarts.csv"))
    options = parser.parse_args()
    rows = measure(options.cycles, options.csv)
    for name in dict.fromkeys(row[0] for row in rows):
        seconds = sorted(row[2] for row in rows if row[0] == name)
        print(
            f"{name}: {len(seconds)} restarts, pictures after {seconds[-1]:.2f} s at most, ", end=""
        )
        print(f"{seconds[len(seconds) // 2]:.2f} s in the middle")
    raise SystemExit(0 if max(row[2] for row in rows) <= MOST_SECONDS else "it took too long")


if __name__ == "__main__":
    main()
