"""Pictures of a results file: a roofline of the ops, and bars of the networks per resolution.

Of what is not in the file, as not all was measured, there is none.

PYTHONPATH=kernels:training:. python3 kernels/benchmarks/pictures.py RESULTS.csv FOLDER
"""

import argparse
import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from benchmarks.ops import COPY, OURS, PRODUCT, PYTORCH
from sapnet_training.chart import COLOURS, LINE_PX, Box

Row = dict[str, str]
ROOFLINE = Box(60, 40, 700, 360)
INTENSITY, TERAFLOPS = (1.0, 4096.0), (0.5, 2048.0)
BAR_PX, NAME_PX, BARS_PX = 18, 330, 420
NETWORK = "SAPNet"
"""What the rows of networks begin with."""


def read(path: Path) -> list[Row]:
    """Rows of a results file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rate(row: Row) -> tuple[float, float]:
    """FLOP per byte, and TFLOP/s of a row in milliseconds."""
    flop = float(row["flop"])
    return flop / float(row["bytes"]), flop / float(row["median"]) / 1e9


def place(intensity: float, teraflops: float) -> tuple[float, float]:
    """On the roofline's picture, pixels; both axes are logarithmic."""

    def share(value: float, low: float, high: float) -> float:
        return math.log(min(max(value, low), high) / low) / math.log(high / low)

    x, y = share(intensity, *INTENSITY), share(teraflops, *TERAFLOPS)
    return ROOFLINE.left + x * ROOFLINE.width, ROOFLINE.top + (1 - y) * ROOFLINE.height


def roofline(rows: Sequence[Row]) -> Image.Image:
    """What the ops reach, below what the device copies and multiplies.

    Operations and bytes are those that no way of running an op saves, so what PyTorch moves
    beside them shows as a lower rate.
    """
    picture = Image.new("RGB", (ROOFLINE.width + 120, ROOFLINE.height + 130), "white")
    draw = ImageDraw.Draw(picture)
    peak = next(rate(row)[1] for row in rows if row["what"] == PRODUCT)
    copy = next(row for row in rows if row["what"] == COPY)
    terabytes = float(copy["bytes"]) / float(copy["median"]) / 1e9
    ridge = peak / terabytes
    right, bottom = ROOFLINE.left + ROOFLINE.width, ROOFLINE.top + ROOFLINE.height
    draw.rectangle((ROOFLINE.left, ROOFLINE.top, right, bottom), outline="#bbbbbb")
    roof = [(INTENSITY[0], INTENSITY[0] * terabytes), (ridge, peak), (INTENSITY[1], peak)]
    draw.line([place(*point) for point in roof], fill="black", width=2)
    title = f"{copy['gpu']}: copies {terabytes:.2f} TB/s, multiplies {peak:.0f} TFLOP/s, measured"
    draw.text((ROOFLINE.left, 8), title, fill="black")
    for exponent in range(0, 13, 2):
        x, _ = place(2.0**exponent, TERAFLOPS[0])
        draw.text((x, bottom + 2), str(2**exponent), fill="black")
    for teraflops in (1, 8, 64, 512):
        _, y = place(INTENSITY[0], teraflops)
        draw.text((16, y - LINE_PX // 2), str(teraflops), fill="black")
    draw.text((8, 24), "TFLOP/s", fill="black")
    draw.text((right - 90, bottom + LINE_PX), "FLOP per byte", fill="black")
    _points(draw, rows, bottom + 2 * LINE_PX + 4)
    return picture


def _points(draw: ImageDraw.ImageDraw, rows: Sequence[Row], legend_top: int) -> None:
    """A mark per op of 32 channels and dilation: full is ours, empty PyTorch."""
    shown = [r for r in rows if r["by"] in (OURS, PYTORCH) and r["channels"] == "32"]
    names = list(dict.fromkeys(row["what"] for row in shown))
    for row in shown:
        colour = COLOURS[names.index(row["what"])]
        x, y = place(*rate(row))
        fill = colour if row["by"] == OURS else "white"
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), outline=colour, fill=fill)
    for number, name in enumerate(names):
        where = ROOFLINE.left + number % 3 * 240, legend_top + number // 3 * LINE_PX
        draw.text(where, name, fill=COLOURS[number])
    draw.text((ROOFLINE.left + 400, 24), f"full: {OURS}   empty: {PYTORCH}", fill="black")


def bars(rows: Sequence[Row]) -> Image.Image:
    """Milliseconds of a frame, each contender at each resolution, every group to its own scale."""
    groups: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["what"].startswith(NETWORK) and row["median"]:
            title = f"{row['what']}, {row['width']}x{row['height']}"
            groups.setdefault(title, {})[row["by"]] = row
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    lines = sum(len(group) + 2 for group in groups.values())
    picture = Image.new("RGB", (NAME_PX + BARS_PX + 160, lines * BAR_PX + 10), "white")
    draw, top = ImageDraw.Draw(picture), 5
    for title, group in groups.items():
        draw.text((8, top), title, fill="black")
        longest = max(float(row["median"]) for row in group.values())
        for name, row in group.items():
            top += BAR_PX
            milliseconds = float(row["median"])
            end = NAME_PX + BARS_PX * milliseconds / longest
            colour = COLOURS[names.index(name) % len(COLOURS)]
            draw.text((20, top), name, fill="black")
            draw.rectangle((NAME_PX, top, end, top + BAR_PX - 4), fill=colour)
            text = f"{milliseconds:.2f} ms, {1000 / milliseconds:.0f} per s"
            draw.text((end + 6, top), text, fill="black")
        top += 2 * BAR_PX
    return picture


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw a results file.")
    parser.add_argument("results", type=Path, metavar="CSV")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    rows = read(options.results)
    measured = {row["what"] for row in rows}
    if {COPY, PRODUCT} <= measured:
        roofline(rows).save(options.folder / "roofline.png")
    if any(what.startswith(NETWORK) for what in measured):
        bars(rows).save(options.folder / "networks.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
