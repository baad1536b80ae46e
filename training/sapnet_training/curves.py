"""Curves of a run over its steps, as a PNG."""

import math
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

WIDTH_PX, HEIGHT_PX, MARGIN_PX = 640, 240, 40
COLOURS = ("#1f5fb4", "#c43c39", "#2e8b57", "#8a5fbf", "#c8821e", "#3fa7b8", "#555555")


def write_curves(path: Path, records: list[dict[str, Any]]) -> None:
    """Two panels: every loss on a logarithmic scale, and every score in its own unit.

    Args:
        path: an existing file is replaced.
        records: of `log.jsonl`; scores are those named between "learning_rate" and "skipped".
    """
    names = list(records[-1])
    split = names.index("learning_rate")
    panels = (names[2:split], names[split + 1 : names.index("skipped")])
    picture = Image.new("RGB", (WIDTH_PX, 2 * HEIGHT_PX), "white")
    draw = ImageDraw.Draw(picture)
    for number, panel in enumerate(panels):
        columns = {n: [(r["step"], r[n]) for r in records if n in r] for n in panel}
        _panel(draw, number * HEIGHT_PX, columns, logarithmic=number == 0)
    picture.save(path)


def _panel(
    draw: ImageDraw.ImageDraw,
    top: int,
    columns: dict[str, list[tuple[int, float]]],
    logarithmic: bool,
) -> None:
    def scale(value: float) -> float:
        return math.log10(max(value, 1e-6)) if logarithmic else value

    points = {
        name: [(step, scale(value)) for step, value in column if math.isfinite(value)]
        for name, column in columns.items()
    }
    every = [point for column in points.values() for point in column]
    if not every:
        return
    last = max(step for step, _ in every)
    low, high = min(v for _, v in every), max(v for _, v in every)
    high = high if high > low else low + 1
    left, right = MARGIN_PX, WIDTH_PX - MARGIN_PX
    bottom, ceiling = top + HEIGHT_PX - 24, top + 24
    draw.rectangle((left, ceiling, right, bottom), outline="#bbbbbb")
    for value, y in ((high, ceiling), (low, bottom)):
        draw.text((2, y - 6), f"{10**value if logarithmic else value:.3g}", fill="black")
    draw.text((right - 30, bottom + 4), str(last), fill="black")
    for number, (name, column) in enumerate(points.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = [
            (
                left + (right - left) * step / last,
                bottom - (bottom - ceiling) * (v - low) / (high - low),
            )
            for step, v in column
        ]
        draw.line(line, fill=colour, width=2)
        draw.text((left + 80 * number, top + 6), name, fill=colour)
