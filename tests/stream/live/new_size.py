"""How long a picture of a new size holds up the other cameras of a device.

    python -m tests.stream.live.new_size --csv tests/stream/live/results/new_size.csv

Whoever has the device prepares the network for its size, and the others wait. A row is one
network and one size: the first two frames of a camera of a size that was never seen, the first
two of a camera of a size that was, and any other frame, as one camera after the other takes
them. What the first takes beyond the second is the preparation. Sizes differ by 16 rows, so each
is new; medians. On a GPU, tiles are measured once for ever, at the first size of its kind.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import torch

from sapnet_stream.engine import DerainEngine
from sapnet_stream.live.shared_engine import SharedEngine, SharedStream
from sapnet_stream.networks.weights import load_network, load_video_network
from sapnet_stream.video.frame import Colour, Frame, pixel_layout
from tests.stream.live.table import write_table

HEADER = (
    *("network", "width", "height"),
    *("new_size_seconds", "new_camera_seconds", "frame_seconds", "prepares_seconds"),
    *("runs", "threads"),
)
SIZES = ((320, 180), (640, 360), (1280, 720))
Make = Callable[[], DerainEngine]


def picture(width: int, height: int) -> Frame:
    """Noise in 4:2:0."""
    layout = pixel_layout("yuv420p")
    shapes = layout.plane_shapes(height, width)
    planes = tuple(torch.randint(16, 236, shape, dtype=torch.uint8) for shape in shapes)
    return Frame(planes, layout, Colour(0.2126, 0.0722, False), 0, Fraction(1, 25))


def measure(
    make: Make, width: int, height: int, runs: int
) -> tuple[str, int, int, float, float, float, float]:
    """A row; see `HEADER`."""
    engine = SharedEngine(make)
    # What is loaded once for all sizes is no part of it.
    _seconds(engine.stream(), picture(64, 48), 2)
    sizes, cameras, others = list[float](), list[float](), list[float]()
    for run in range(runs):
        frame = picture(width, height + 16 * run)
        for firsts in (sizes, cameras):
            stream = engine.stream()
            firsts.append(_seconds(stream, frame, 2))
            others += [_seconds(stream, frame, 1) for _ in range(3)]
    new, known, other = (statistics.median(taken) for taken in (sizes, cameras, others))
    return engine.description, width, height, new, known, other, new - known


def _seconds(stream: SharedStream, frame: Frame, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        stream.frame(frame)
    return time.perf_counter() - began


def table(device: str | None, runs: int) -> Iterator[tuple[object, ...]]:
    """All rows."""
    networks: tuple[Make, ...] = (
        lambda: DerainEngine(load_video_network(), device=device),
        lambda: DerainEngine(load_network(), device=device),
    )
    for make in networks:
        for size in SIZES:
            name, width, height, *figures = measure(make, *size, runs)
            shown = [f"{each:.4g}" for each in figures]
            yield (name, width, height, *shown, runs, torch.get_num_threads())


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device")
    parser.add_argument("--csv", type=Path, default=Path("new_size.csv"))
    options = parser.parse_args()
    write_table(options.csv, HEADER, table(options.device, options.runs))


if __name__ == "__main__":
    main()
