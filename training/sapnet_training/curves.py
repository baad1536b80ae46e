"""Curves of a run over its steps, as a PNG."""

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from sapnet_training.chart import Box, draw_chart

WIDTH_PX, HEIGHT_PX = 720, 260


def write_curves(path: Path, records: list[dict[str, Any]]) -> None:
    """Every loss on a logarithmic scale, and below every score in its own unit.

    Args:
        path: an existing file is replaced.
        records: of `log.jsonl`; losses come before "learning_rate", scores between it and
            "skipped".
    """
    names = list(records[-1])
    rate, skipped = names.index("learning_rate"), names.index("skipped")
    picture = Image.new("RGB", (WIDTH_PX, 2 * HEIGHT_PX), "white")
    draw = ImageDraw.Draw(picture)
    for top, title, panel in (
        (0, "losses over steps", names[2:rate]),
        (HEIGHT_PX, "scores over steps", names[rate + 1 : skipped]),
    ):
        lines = {name: [(r["step"], r[name]) for r in records if name in r] for name in panel}
        draw_chart(draw, Box(0, top, WIDTH_PX, HEIGHT_PX), title, lines, logarithmic=top == 0)
    picture.save(path)
