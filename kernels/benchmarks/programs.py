"""Whole programs on a GPU, from a video file to a video file. From the repository:

    PYTHONPATH=.:kernels python3 kernels/benchmarks/programs.py VIDEO --out CSV

A program with a network that returns its input shows what the rest of the way takes.
"""

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.timing import Call, Results, Row, in_turn, ratio, spread
from sapnet_stream.bench_pipeline import ZeroResidual
from sapnet_stream.derain import Report, derain_file
from sapnet_stream.engine import DerainEngine
from sapnet_stream.flow import StageStats
from sapnet_stream.job import Job
from sapnet_stream.networks.weights import load_network, load_video_network
from sapnet_stream.video.codec import EncoderSettings
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.hardware import HardwareDecoder

ZERO = "zero residual"


def programs(
    source: Path, target: Path, preset: str | None, hwaccel: str | None
) -> dict[str, Call]:
    """Each derains the file once and gives its report."""
    engines = {
        "SAPNetVideo": DerainEngine(load_video_network()),
        "SAPNet, six stages": DerainEngine(load_network()),
        ZERO: DerainEngine(executor=ZeroResidual()),
    }
    hardware = None if hwaccel is None else HardwareDecoder(hwaccel)
    encoder = EncoderSettings("h264", preset=preset)
    job = Job(source, target, hardware=hardware, encoder=encoder, overwrite=True)
    return {name: partial(derain_file, job, engine) for name, engine in engines.items()}


def busy(stats: Sequence[StageStats]) -> str:
    """How much of its time each stage worked and did not wait for its neighbours."""
    shares = []
    for stage in stats:
        whole = stage.busy_seconds + stage.input_wait_seconds + stage.output_wait_seconds
        shares.append(f"{stage.name} {100 * stage.busy_seconds / max(whole, 1e-9):.0f} %")
    return "busy: " + ", ".join(shares)


def measure(source: Path, runs: int, preset: str | None, hwaccel: str | None) -> list[Row]:
    """A row per program; see the command's options."""
    with VideoDecoder(source) as decoder:
        size: Row = {"width": decoder.info.width, "height": decoder.info.height}
    notes: list[str] = []

    def frames_per_second(call: Call) -> float:
        began = time.perf_counter()
        report = call()
        assert isinstance(report, Report)
        notes.append(busy(report.stats))
        return report.frames / (time.perf_counter() - began)

    with tempfile.TemporaryDirectory() as folder:
        calls = programs(source, Path(folder) / "out.mp4", preset, hwaccel)
        figures = in_turn(calls, runs, frames_per_second)
    by = "sapnet-stream" + (f" --hwaccel {hwaccel}" if hwaccel else "")
    last = dict(zip(calls, notes[-len(calls) :], strict=True))
    return [
        size
        | spread(values)
        | {"what": f"file to file, {name}", "by": by, "unit": "frames/s"}
        # Of rates, not times.
        | {"ratio": ratio(values, figures[ZERO]), "baseline": ZERO}
        | {"runs": runs, "note": last[name]}
        for name, values in figures.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Time whole programs on a video file.")
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, required=True, metavar="CSV", help="append to it")
    parser.add_argument("--runs", type=int, default=3, help="counted rounds (3)")
    parser.add_argument("--preset", help="of the encoder; default as in sapnet-stream")
    parser.add_argument("--hwaccel", metavar="NAME", help="that decodes, such as cuda")
    options = parser.parse_args()
    results = Results(options.out, shlex.join(["python3", *sys.argv]))
    work = partial(measure, options.video, options.runs, options.preset, options.hwaccel)
    return int(results.measured({"what": "file to file"}, work))


if __name__ == "__main__":
    sys.exit(main())
