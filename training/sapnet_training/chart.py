"""Line charts on a picture: the little that reports need, without a plotting library."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import ImageDraw

COLOURS = ("#1f5fb4", "#c43c39", "#2e8b57", "#8a5fbf", "#c8821e", "#3fa7b8", "#555555")
MARGIN_PX = 40
LINE_PX = 14

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Box:
    """Where a chart is on its picture, pixels."""

    left: int
    top: int
    width: int
    height: int


def draw_chart(
    draw: ImageDraw.ImageDraw,
    box: Box,
    title: str,
    lines: Mapping[str, Points],
    logarithmic: bool = False,
) -> None:
    """Named lines over a common range, with a legend; values that are not finite are left out.

    Args:
        logarithmic: the vertical axis is; values of 0 and less count as 1e-6.
    """

    def scale(value: float) -> float:
        return math.log10(max(value, 1e-6)) if logarithmic else value

    drawn = {
        name: [(x, scale(y)) for x, y in points if math.isfinite(y)]
        for name, points in lines.items()
    }
    every = [point for points in drawn.values() for point in points]
    if not every:
        return
    x_range = _range([x for x, _ in every])
    y_range = _range([y for _, y in every])
    inner = Box(
        box.left + MARGIN_PX,
        box.top + 2 * LINE_PX,
        box.width - MARGIN_PX - 10,
        box.height - 4 * LINE_PX,
    )
    bottom, right = inner.top + inner.height, inner.left + inner.width
    draw.text((inner.left, box.top), title, fill="black")
    draw.rectangle((inner.left, inner.top, right, bottom), outline="#bbbbbb")
    for value, y in ((y_range[1], inner.top), (y_range[0], bottom)):
        shown = 10**value if logarithmic else value
        draw.text((box.left + 2, y - LINE_PX // 2), f"{shown:.3g}", fill="black")
    draw.text((inner.left, bottom + 2), f"{x_range[0]:.3g}", fill="black")
    draw.text((right - 30, bottom + 2), f"{x_range[1]:g}", fill="black")
    for number, (name, points) in enumerate(drawn.items()):
        colour = COLOURS[number % len(COLOURS)]
        place = [
            (
                inner.left + inner.width * (x - x_range[0]) / (x_range[1] - x_range[0]),
                bottom - inner.height * (y - y_range[0]) / (y_range[1] - y_range[0]),
            )
            for x, y in points
        ]
        draw.line(place, fill=colour, width=2)
        step = inner.width // len(drawn)
        draw.text((inner.left + step * number, box.top + LINE_PX), name, fill=colour)


def _range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low, low + 1)
