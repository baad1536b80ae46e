"""How many cameras one machine derains, by size and frame rate.

    python -m tests.stream.live.capacity --csv tests/stream/live/results/capacity.csv

The program is `sapnet-stream live` with its default network, `--when-slow drop` and encoded files;
the cameras are servers of RTSP on the same machine, whose work counts too. A row is one run with
so many cameras of one size and rate: what each got, the slowest one last, and whether all of it
was derained within the announced age. For each size and rate, cameras are added until it is not.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import av

from tests.stream.live.loopback import Camera, wait_until
from tests.stream.live.table import write_table

SIZES = ((320, 180), (640, 360), (1280, 720))  # width, height
RATES = (5, 10, 25)
CAMERAS = (1, 2, 4, 8)
# Of the frames that came, in the time that was measured.
LEAST_SHARE = 0.98
MOST_LATE = 0.01
SETTLE_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        cameras, width, height, rate: frames/s of each.
        seconds: that were measured.
        in_rate, out_rate: frames/s of all cameras together.
        least_share: of its frames that the worst camera got derained.
        late_share: of all that were, older than announced.
        mean_age_seconds, bound_seconds: of the camera with the oldest frames, and the least bound.
        reconnects: of all.
    """

    cameras: int
    width: int
    height: int
    rate: int
    seconds: float
    in_rate: float
    out_rate: float
    least_share: float
    late_share: float
    mean_age_seconds: float
    bound_seconds: float
    reconnects: int

    @property
    def sustained(self) -> bool:
        """All that came went out, all but one in a hundred no older than announced."""
        whole = self.least_share >= LEAST_SHARE and not self.reconnects
        return whole and self.late_share <= MOST_LATE


HEADER = (*(field.name for field in fields(Row)), "sustained")


def write_scene(path: Path, width: int, height: int, rate: int) -> None:
    """Ten seconds of noise falling over a picture that stands still."""
    drops = f"noise=alls=20:allf=t,scale={width}:{height}"
    with av.open(str(path), "w") as target:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(2 * rate)}
        video = target.add_stream("libx264", rate=rate, options=options)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        picture = f"testsrc2=size={width}x{height}:rate={rate}:duration=10,{drops}"
        with av.open(picture, format="lavfi") as source:
            for frame in source.decode(video=0):
                target.mux(video.encode(frame.reformat(format="yuv420p")))
        target.mux(video.encode(None))


@contextmanager
def running(folder: Path, camera: Camera, count: int) -> Iterator[Path]:
    """Within, so many cameras are derained; gives the log."""
    log, path = folder / "log", folder / "cameras.yaml"
    names = [f"c{number}" for number in range(count)]
    url = camera.url("camera.mp4")
    lines = [f"  {each}: {{input: '{url}', output: {folder}/{each}.mkv}}\n" for each in names]
    defaults = "{when-slow: drop, segment: 10, keep: 1, preset: ultrafast}"
    path.write_text(f"log: json\ndefaults: {defaults}\ncameras:\n{''.join(lines)}")
    with log.open("w") as file:
        command = [sys.executable, "-m", "sapnet_stream", "live", str(path)]
        program = subprocess.Popen(command, stderr=file)
    try:
        yield log
    finally:
        program.terminate()
        program.wait()


def statuses(log: Path) -> dict[str, dict[str, Any]]:
    """The last of each camera."""
    lines = [json.loads(line) for line in log.read_text().split("\n")[:-1]]
    return {line["camera"]: line for line in lines if line["event"] == "status"}


def measure(count: int, size: tuple[int, int], rate: int, seconds: float) -> Row:
    """One run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scene(folder / "camera.mp4", *size, rate)
        camera = Camera(folder)
        try:
            with running(folder, camera, count) as log:
                wait_until(lambda: _begun(log, count), "the first frames of all")
                # Sizes and speeds are known, and memories full.
                time.sleep(min(SETTLE_SECONDS, seconds))
                before, began = statuses(log), time.monotonic()
                time.sleep(seconds)
                after, taken = statuses(log), time.monotonic() - began
        finally:
            camera.close()
    return _row(count, size, rate, taken, [(before[each], after[each]) for each in after])


def _begun(log: Path, count: int) -> bool:
    known = statuses(log)
    return len(known) == count and all(line["frames_out"] > 3 for line in known.values())


def _row(
    count: int,
    size: tuple[int, int],
    rate: int,
    seconds: float,
    runs: list[tuple[dict[str, Any], dict[str, Any]]],
) -> Row:
    def grown(name: str) -> list[float]:
        return [after[name] - before[name] for before, after in runs]

    came, went = grown("frames_in"), grown("frames_out")
    # A packet that was left out, too, came.
    lost = grown("dropped")
    shares = [out / max(1, out + drop) for out, drop in zip(went, lost, strict=True)]
    ages = [aged / max(1, out) for aged, out in zip(grown("age_sum_seconds"), went, strict=True)]
    return Row(
        count,
        *size,
        rate,
        round(seconds, 1),
        round(sum(came) / seconds, 2),
        round(sum(went) / seconds, 2),
        round(min(shares), 4),
        round(sum(grown("late")) / max(1, sum(went)), 4),
        round(max(ages), 3),
        round(min(after["bound_seconds"] for _, after in runs), 3),
        int(sum(grown("reconnects"))),
    )


def table(seconds: float, most: int) -> Iterator[Row]:
    """Sizes by rates, more cameras until they are too many."""
    for size in SIZES:
        for rate in RATES:
            for count in (each for each in CAMERAS if each <= most):
                row = measure(count, size, rate, seconds)
                yield row
                if not row.sustained:
                    break


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--most", type=int, default=CAMERAS[-1], metavar="CAMERAS")
    parser.add_argument("--csv", type=Path, default=Path("capacity.csv"))
    options = parser.parse_args()
    rows = table(options.seconds, options.most)
    write_table(options.csv, HEADER, ((*astuple(row), row.sustained) for row in rows))


if __name__ == "__main__":
    main()
