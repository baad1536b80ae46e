"""The command `sapnet-stream`."""

import argparse
import itertools
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console

import sapnet_stream
from sapnet_stream import bench, doctor
from sapnet_stream.derain import Report, Start, derain_file
from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import SapnetError, one_line
from sapnet_stream.job import Job
from sapnet_stream.networks.weights import find_weights, load_network
from sapnet_stream.parser import Parser
from sapnet_stream.progress import JobProgress, duration
from sapnet_stream.stop import Stop
from sapnet_stream.video.codec import ENCODERS, EncoderSettings

INTERRUPTED = 130
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Where nothing listens to a wish, as in a read that hangs, the next one is an order.
MOST_SIGNALS = 2
STOPPING = b"\nsapnet-stream: stopping at the end of this part; once more stops at once\n"
CHEAPER = "--stages 2 takes about a third of that"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status (see `sapnet_stream.errors`)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # A file may be called "[red].mp4": names are not markup.
    console = Console(stderr=True, soft_wrap=True, markup=False, emoji=False, highlight=False)
    try:
        if arguments[:1] == ["doctor"]:
            return _doctor(arguments[1:])
        if arguments[:1] == ["bench"]:
            return bench.main(arguments[1:])
        stop = Stop()
        with _stopping(stop):
            return _derain(_parser().parse_args(arguments), arguments, console, stop)
    except SapnetError as error:
        where = ", ".join(getattr(error, "__notes__", []))
        print(f"sapnet-stream: {error}{where and f' ({where})'}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("sapnet-stream: stopped; the output was not written", file=sys.stderr)
        return INTERRUPTED


@contextmanager
def _stopping(stop: Stop) -> Iterator[None]:
    """Within, a signal asks to stop."""

    def ask(*_: object) -> None:
        stop.ask()
        if stop.asked == 1:
            # Not through the console: the interrupted line may be just writing there.
            os.write(2, STOPPING)
        if stop.asked > MOST_SIGNALS:
            raise KeyboardInterrupt

    handlers = {number: signal.getsignal(number) for number in STOPS}
    for number, handler in handlers.items():
        # What started this program may have asked it to ignore one, as nohup does.
        if handler != signal.SIG_IGN:
            signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sapnet-stream",
        usage="sapnet-stream [options] INPUT OUTPUT\n       sapnet-stream doctor | bench",
        description="Remove rain from a video. OUTPUT's ending names the container.",
        epilog="Weights: a bundled name or a file; also from $SAPNET_WEIGHTS.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=22, width=80),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("input", type=Path, metavar="INPUT", help=argparse.SUPPRESS)
    add("output", type=Path, metavar="OUTPUT", help=argparse.SUPPRESS)
    add("--start", type=_number, metavar="SECONDS", help="begin here")
    add("--duration", type=_number, metavar="SECONDS", help="stop this much later")
    add("--strength", type=_number, default=1.0, metavar="0..1", help="how much rain goes (1)")
    add("--compare", choices=["side"], help="write input and output side by side")
    add("--stages", type=int, metavar="1..6", help="looks at each frame; fewer is faster (6)")
    add("--device", metavar="NAME", help="cpu, cuda, cuda:1 (a GPU if there is one)")
    add("--dtype", choices=list(DTYPES), help="arithmetic (the device's fastest)")
    add("--memory", type=_number, metavar="GIB", help="most a frame may use (what is free)")
    add("--weights", metavar="NAME|FILE", help="the network's weights (sapnet)")
    add("--deinterlace", action="store_true", help="whole pictures of frames that are two fields")
    add("--codec", metavar="NAME", help=f"{', '.join(ENCODERS)}, h264_nvenc ... (the input's)")
    add("--crf", type=_number, metavar="0..63", help="quality, lower is better (h264: 18)")
    add("--preset", metavar="NAME", help="encoder effort (h264: medium)")
    add("--pix-fmt", metavar="NAME", help="pixel format (nearest to the input's)")
    add(
        "--encoder-option",
        type=_pair,
        action="append",
        default=[],
        metavar="K=V",
        help="another of its own",
    )
    add("--resume", action="store_true", help="go on with what an earlier run left")
    add("--keep-partial", action="store_true", help="only write what an earlier run finished")
    add("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    add("--quiet", action="store_true", help="say nothing unless something is wrong")
    add("--version", action="version", version=f"sapnet-stream {sapnet_stream.__version__}")
    return parser


def _derain(options: argparse.Namespace, arguments: list[str], console: Console, stop: Stop) -> int:
    job = Job(
        source=options.input,
        target=options.output,
        start_seconds=options.start,
        duration_seconds=options.duration,
        compare=options.compare,
        deinterlace=options.deinterlace,
        encoder=EncoderSettings(
            options.codec,
            options.crf,
            options.preset,
            options.pix_fmt,
            dict(options.encoder_option),
        ),
        overwrite=options.overwrite,
        resume=options.resume,
        keep_partial=options.keep_partial,
    )
    began = time.monotonic()
    engine = DerainEngine(
        load_network(options.weights),
        device=options.device,
        dtype=DTYPES.get(options.dtype),
        stages=options.stages,
        strength=options.strength,
        memory_bytes=None if options.memory is None else int(options.memory * 2**30),
    )
    cheaper = "--duration SECONDS tries a part first" if options.stages == 1 else CHEAPER
    frames = itertools.count(1)
    with JobProgress(console, cheaper, quiet=options.quiet) as progress:

        def start(begin: Start) -> None:
            total = begin.info.frame_count
            left = None if total is None else max(0, total - begin.done_frames)
            progress.begin(_settings(begin, engine, options), left)

        try:
            report = derain_file(job, engine, start, lambda: progress.update(next(frames)), stop)
        except KeyboardInterrupt:
            report = Report(None, 0, False, [], [])
    for warning in report.warnings:
        print(f"sapnet-stream: warning: {one_line(warning)}", file=sys.stderr)
    if report.complete:
        if not options.quiet:
            console.print(_summary(report, next(frames) - 1, time.monotonic() - began))
        return 0
    print(f"sapnet-stream: {one_line(_unfinished(report, job, arguments))}", file=sys.stderr)
    return 0 if job.keep_partial else INTERRUPTED


def _settings(begin: Start, engine: DerainEngine, options: argparse.Namespace) -> str:
    """What is in effect, defaults included."""
    weights = find_weights(options.weights)
    info = begin.info
    source, target = (one_line(str(path)) for path in (options.input, options.output))
    done = f", after {begin.done_frames} frames that are done" if begin.done_frames else ""
    return (
        f"{source}: {info.codec} {info.width}x{info.height} {info.layout.name} "
        f"{float(info.rate):.4g} frames/s\n"
        f"network: {engine.description}, weights {weights.name}, "
        f"strength {engine.strength:g}\n"
        f"{target}: {begin.plan}{done}"
    )


def _summary(report: Report, frames: int, seconds: float) -> str:
    return (
        f"{one_line(str(report.path))}: {report.frames} frames in {duration(seconds)}, "
        f"{frames / seconds:.2f} frames/s"
    )


def _unfinished(report: Report, job: Job, arguments: list[str]) -> str:
    """What there is of a job that was stopped, and how to go on."""
    kept = [argument for argument in arguments if argument not in ("--resume", "--keep-partial")]
    again = shlex.join(["sapnet-stream", "--resume", *kept])
    if report.path is not None:
        return f"stopped: the first {report.frames} frames are in {report.path}; go on: {again}"
    if job.folder.exists():
        return f"stopped: what is done is in {job.folder}; go on: {again}"
    return "stopped before anything was finished"


def _doctor(arguments: list[str]) -> int:
    Parser(
        prog="sapnet-stream doctor", description="Show what this machine and installation can do."
    ).parse_args(arguments)
    for subject, finding in doctor.report():
        print(f"{subject:16} {finding}")
    return 0


def _number(text: str) -> float:
    """A finite number."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return number


def _pair(text: str) -> tuple[str, str]:
    """An encoder's option and its value."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form option=value")
    return key, value
