"""`sapnet-stream bench`: what this machine does, as a table and a results file."""

import argparse
import csv
import platform
import shlex
import statistics
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sapnet_stream.bench_model import (
    ALL_UP_TO_PIXELS,
    COMPILED,
    SIZES,
    VIDEO,
    WRITTEN,
    ModelResult,
    Size,
    measure_models,
)
from sapnet_stream.bench_pipeline import PipelineResult, measure_pipeline
from sapnet_stream.errors import OutputError, UsageError
from sapnet_stream.limits import size as size_text
from sapnet_stream.networks.memory import available_bytes
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.weights import load_network
from sapnet_stream.parser import Parser

COLUMNS = [
    *("date", "cpu", "threads", "what", "runtime", "dtype", "height", "width", "unit"),
    *("median", "p20", "p80", "runs", "ratio", "baseline", "command"),
]
BYTES_PER_PIXEL = {True: 3000, False: 1550}
"""Of memory, for pictures that all contenders get and for larger ones: measured, of the published
network alone and of all together."""


def main(arguments: list[str]) -> int:
    """Measure, print, and append to a CSV file if one is named.

    Raises:
        SapnetError: wrong options, weights or video, or the CSV file cannot be written.
    """
    parser = Parser(
        prog="sapnet-stream bench",
        description="Time the network beside other runtimes, and whole programs beside ffmpeg.",
    )
    sizes = ", ".join(f"{width}x{height}" for height, width in SIZES)
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="counted rounds (7)")
    parser.add_argument("--sizes", type=_size, nargs="+", metavar="WxH", help=f"pictures ({sizes})")
    parser.add_argument("--weights", metavar="NAME|FILE", help="the network's weights (sapnet)")
    parser.add_argument("--video", type=Path, metavar="FILE", help="also time programs on this")
    parser.add_argument("--out", type=Path, metavar="CSV", help="append the figures to this file")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        raise UsageError(f"--runs must be 1 or more, got {options.runs}")
    _check_sizes(options.sizes or SIZES)
    command = shlex.join(["sapnet-stream", "bench", *arguments])
    common = {
        "date": date.today().isoformat(),
        "cpu": cpu_name(),
        "threads": str(torch.get_num_threads()),
        "runs": str(options.runs),
        "command": command,
    }
    network = load_network(options.weights)
    if options.out is not None:
        # Refused now rather than after minutes.
        _append(options.out, [])
    rows: list[dict[str, str]] = []
    # On a terminal alone, and gone with the end.
    with Console(stderr=True).status("") as status:
        for measured in _measured(network, options, status.update):
            new = [{**common, **row} for row in measured]
            rows += new
            if options.out is not None:
                # As they come: a run takes long.
                _append(options.out, new)
    _print(rows)
    return 0


def _measured(
    network: SAPNet, options: argparse.Namespace, say: Callable[[str], object]
) -> Iterator[list[dict[str, str]]]:
    # First, as the file may be none of a video.
    if options.video is not None:
        say("whole programs beside ffmpeg")
        yield _pipeline_rows(measure_pipeline(options.video, options.runs))
    for results in measure_models(network, options.runs, options.sizes or SIZES, say):
        yield list(_model_rows(results))


def _size(text: str) -> Size:
    """Height and width of "640x360"."""
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()) or int(width) * int(height) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a width and a height, such as 640x360")
    return int(height), int(width)


def _check_sizes(sizes: Sequence[Size]) -> None:
    allowed = available_bytes(torch.device("cpu"))
    for height, width in sizes:
        whole = height * width <= ALL_UP_TO_PIXELS
        needed = BYTES_PER_PIXEL[whole] * height * width
        if needed > allowed:
            raise UsageError(
                f"--sizes {width}x{height} takes {size_text(needed)} of memory and "
                f"{size_text(allowed)} are free: give smaller ones"
            )


def cpu_name() -> str:
    """The processor as the system calls it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _model_rows(results: list[ModelResult]) -> Iterator[dict[str, str]]:
    """A row per result and baseline: the published network; for videos two more."""
    for result in results:
        row = {
            "what": result.name,
            "runtime": result.runtime,
            "dtype": result.dtype,
            "height": str(result.height),
            "width": str(result.width),
            "unit": "s/frame",
        }
        if not result.seconds:
            yield row
            continue
        row |= _spread(result.seconds)
        wanted = [("published", "float32"), ("folded", result.dtype), (WRITTEN, "float32")]
        wanted = wanted if result.name in (*VIDEO, COMPILED) else wanted[:1]
        bases = [r for name in wanted for r in results if r.is_baseline(*name, result)]
        if not bases:
            yield row
        for base in bases:
            # Run by run, so that a slow minute counts on both sides.
            pairs = zip(base.seconds, result.seconds, strict=True)
            ratio = statistics.median(b / s for b, s in pairs)
            yield row | {"ratio": f"{ratio:.2f}", "baseline": f"{base.name} torch {base.dtype}"}


def _pipeline_rows(result: PipelineResult) -> list[dict[str, str]]:
    common = {
        "height": str(result.height),
        "width": str(result.width),
        "unit": "frames/s",
        "baseline": "ffmpeg",
    }
    ours = {"what": "file to file, zero residual", "runtime": "sapnet-stream"}
    theirs = {"what": "file to file", "runtime": "ffmpeg", "ratio": "1.00"}
    return [
        {**common, **theirs, **_spread(result.ffmpeg)},
        {**common, **ours, **_spread(result.ours), "ratio": f"{result.ratio:.2f}"},
    ]


def _spread(values: list[float]) -> dict[str, str]:
    tensor = torch.tensor(values, dtype=torch.float64)
    low, middle, high = (tensor.quantile(q).item() for q in (0.2, 0.5, 0.8))
    return {"median": f"{middle:.4g}", "p20": f"{low:.4g}", "p80": f"{high:.4g}"}


def _print(rows: list[dict[str, str]]) -> None:
    """The median of each contender and one ratio; the file has all."""
    shown = ["what", "runtime", "dtype", "size", "median", "unit", "ratio"]
    table = Table(
        *shown,
        title=f"{rows[0]['cpu']}, {rows[0]['threads']} threads",
        caption="ratio: how many times as fast as the published network in float32, or as ffmpeg",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    last = None
    for row in rows:
        row = row | {"size": f"{row['width']}x{row['height']}"}
        if row.get("baseline") not in ("published torch float32", "ffmpeg"):
            # Large pictures have no such row.
            row["ratio"] = ""
        contender = [row.get(column) for column in ("what", "runtime", "dtype", "size")]
        if contender != last:
            table.add_row(*(row.get(column, "") for column in shown))
        last = contender
    Console().print(table)


def _append(path: Path, rows: list[dict[str, str]]) -> None:
    try:
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            if not file.tell():
                writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise OutputError(f"--out {path} cannot be written: {error.strerror}") from error
