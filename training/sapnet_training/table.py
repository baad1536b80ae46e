"""Rows of an evaluation, as Markdown to read and as CSV to keep."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from sapnet_stream.errors import OutputError

Row = tuple[object, ...]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose columns are as wide as their widest cell; the first one is of names."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    aligned = (
        [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        for row in lines
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in aligned)


def made_folder(folder: Path) -> None:
    """Makes a folder for results, before anything is computed.

    Raises:
        OutputError: it cannot be made, or not be written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"cannot write into {folder}: permission denied")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Row]) -> None:
    """Floats with four decimals, nothing for None; the file's folder is made.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            for row in rows:
                writer.writerow([f"{v:.4f}" if isinstance(v, float) else v for v in row])
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
