"""How old frames become where the network is too slow: 5 frames/s of a camera's 25.

    python -m tests.stream.live.age --minutes 10 --csv tests/stream/live/results/age.csv

The camera is a server of RTSP on this machine, the network waits 0.2 s and changes nothing.
Every second of the run is a row: ages are of the frames of that second (mean) and of the last
thousand (p50, p99).
"""

import argparse
import csv
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sapnet_stream.live.address import parse_address
from sapnet_stream.live.ladder import Way
from sapnet_stream.live.output import Output
from sapnet_stream.live.status import Status
from sapnet_stream.video.frame import Frame
from tests.stream.live.clip import write_clip
from tests.stream.live.job import Run
from tests.stream.live.loopback import Camera, wait_until

FRAME_SECONDS = 0.2
HEADER = ("seconds", "frames", "mean_age", "p50_age", "p99_age", "bound", "late", "dropped")


@dataclass(frozen=True)
class Ages:
    """What was measured, in seconds.

    Attributes:
        frames: that came out.
        bound_seconds: as it was announced.
        p50_seconds, p99_seconds: the highest of any thousand frames in a row.
        growth_seconds: of the mean age from the first to the last second, by a straight line.
        late: frames older than the bound.
    """

    frames: int
    bound_seconds: float
    p50_seconds: float
    p99_seconds: float
    growth_seconds: float
    late: int

    @property
    def bounded(self) -> bool:
        """The promise: 99 of 100 frames within the bound, and no older at the end."""
        grown = self.growth_seconds > 0.2 * self.bound_seconds
        return self.p99_seconds <= self.bound_seconds and not grown


def measure(seconds: float, path: Path) -> Ages:
    """Run for so long, and write a row for each second."""

    def slow(frame: Frame) -> Frame:
        time.sleep(FRAME_SECONDS)
        return frame

    with tempfile.TemporaryDirectory() as folder:
        write_clip(Path(folder) / "camera.mp4")
        camera = Camera(Path(folder))
        file = Output(parse_address(f"{folder}/out.mkv", "output"))
        job = Run(camera.url("camera.mp4"), [file], [Way("slow", lambda: slow)], rescale=False)
        try:
            wait_until(lambda: _announced(job) is not None)
            rows = _watch(job, seconds)
            bound = _announced(job)
        finally:
            job.stop()
            camera.close()
    assert bound is not None
    with path.open("w", newline="") as file_of_rows:
        csv.writer(file_of_rows).writerows([HEADER, *rows])
    times, _, means, p50, p99 = np.array(rows)[:, :5].T
    slope = np.polyfit(times, means, 1)[0]
    growth = float(slope * (times[-1] - times[0]))
    return Ages(int(rows[-1][1]), bound, p50.max(), p99.max(), growth, int(rows[-1][6]))


def _announced(job: Run) -> float | None:
    """The bound, as the job has said it."""
    said = re.search(r"becomes ([\d.]+) s old at most", "\n".join(job.events))
    return None if said is None else float(said[1])


def _watch(job: Run, seconds: float) -> list[tuple[float, ...]]:
    rows: list[tuple[float, ...]] = []
    began, before = time.monotonic(), job.status
    while time.monotonic() - began < seconds:
        time.sleep(1)
        now = job.status
        rows.append(_row(time.monotonic() - began, before, now))
        before = now
    return rows


def _row(seconds: float, before: Status, now: Status) -> tuple[float, ...]:
    frames = now.frames_out - before.frames_out
    mean = (now.age_sum_seconds - before.age_sum_seconds) / max(frames, 1)
    ages = (mean, now.age_seconds, now.age_p99_seconds, now.bound_seconds)
    return (round(seconds, 1), now.frames_out, *(round(a, 4) for a in ages), now.late, now.dropped)


def main() -> None:
    """Measure and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--csv", type=Path, default=Path("age.csv"))
    options = parser.parse_args()
    ages = measure(60 * options.minutes, options.csv)
    print(
        f"{ages.frames} frames in {options.minutes:g} minutes; age p50 {ages.p50_seconds:.3f} s, "
        f"p99 {ages.p99_seconds:.3f} s, announced bound {ages.bound_seconds:.2g} s, "
        f"{ages.late} later; growth {1000 * ages.growth_seconds:.1f} ms"
    )
    raise SystemExit(0 if ages.bounded else "the bound was not kept")


if __name__ == "__main__":
    main()
