"""Pictures of a results file show its figures, as far as it has them."""

import sys
from pathlib import Path

import pytest
from PIL import ImageColor

from benchmarks import contenders, ops, pictures, timing
from sapnet_training.chart import COLOURS


def result_row(what: str, by: str, milliseconds: float, flop: float, size: float) -> pictures.Row:
    row = {"what": what, "by": by, "median": str(milliseconds), "flop": str(flop)}
    row |= {"bytes": str(size), "channels": "32", "gpu": "a GPU", "width": "1920", "height": "1080"}
    return row


def test_pictures_show_the_figures(tmp_path: Path) -> None:
    rows = [
        result_row(ops.COPY, "PyTorch", 1, 0, 2e9),  # 2 TB/s
        result_row(ops.PRODUCT, "PyTorch", 1, 4e11, 1e8),  # 400 TFLOP/s
        result_row("cell", ops.OURS, 1, 1e11, 1e9),
        result_row("cell", ops.PYTORCH, 4, 1e11, 1e9),
        result_row("SAPNet, six stages", contenders.EAGER, 40, 0, 0),
        result_row("SAPNet, six stages", contenders.OURS, 10, 0, 0),
    ]
    path = tmp_path / "results.csv"
    timing.Results(path, "it", lambda: {"gpu": "a GPU"}).add(rows)
    read = pictures.read(path)
    colour = ImageColor.getrgb(COLOURS[0])
    roofline = pictures.roofline(read)
    for teraflops, seen in ((100, colour), (25, (255, 255, 255))):
        x, y = pictures.place(100, teraflops)
        assert roofline.getpixel((round(x), round(y))) == seen
    x, y = pictures.place(20, 40)
    assert roofline.getpixel((round(x), round(y))) == (0, 0, 0)
    bars = pictures.bars(read)
    lengths = [
        sum(bars.getpixel((x, y)) == ImageColor.getrgb(bar) for x in range(bars.width))
        for bar, y in ((COLOURS[0], 30), (COLOURS[1], 48))
    ]
    assert lengths[0] == pytest.approx(4 * lengths[1], abs=4)


def test_pictures_are_drawn_of_the_parts_that_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = result_row("SAPNet, six stages", contenders.OURS, 10, 0, 0)
    path = tmp_path / "results.csv"
    timing.Results(path, "it", lambda: {"gpu": "a GPU"}).add([ours])
    monkeypatch.setattr(sys, "argv", ["pictures.py", str(path), str(tmp_path)])
    assert pictures.main() == 0
    assert {file.name for file in tmp_path.glob("*.png")} == {"networks.png"}
