"""The command `sapnet-stream`."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from rich.console import Console

import sapnet_stream
from sapnet_stream import bench, doctor
from sapnet_stream.command import Command
from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import SapnetError, sentence
from sapnet_stream.events import JsonProgress
from sapnet_stream.live.options import is_live
from sapnet_stream.models import Kind, Models
from sapnet_stream.networks.executor import DTYPES
from sapnet_stream.parser import Parser, add_encoder_options, add_engine_options, number
from sapnet_stream.progress import JobProgress
from sapnet_stream.signals import STOPPED, answering
from sapnet_stream.stop import Stop
from sapnet_stream.video.codec import ENCODERS
from sapnet_stream.video.compare import COMPARISONS

# Where nothing listens to a wish, as in a read that hangs, the next one is an order.
MOST_SIGNALS = 2
STOPPING = b"\nsapnet-stream: stopping at the end of this part; once more stops at once\n"
CHEAPER = "--stages 2 takes about a third of that"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status (see `sapnet_stream.errors`)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["doctor"]:
            return _doctor(arguments[1:])
        if arguments[:1] == ["bench"]:
            return bench.main(arguments[1:])
        if arguments[:1] == ["live"]:
            from sapnet_stream.live.fleet_command import live_cameras

            return live_cameras(arguments[1:], _live_engine)
        if is_live(arguments):
            # It brings what files never need, as a server of metrics.
            from sapnet_stream.live.command import live

            return live(arguments, _live_engine)
        options = _parser().parse_args(arguments)
    except SapnetError as error:
        print(f"sapnet-stream: {sentence(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("sapnet-stream: stopped", file=sys.stderr)
        return STOPPED
    with _progress(options) as progress:
        try:
            stop = Stop()
            models = Models(options.model, options.weights)
            command = Command(options, arguments, models, progress, stop)
            with _stopping(stop, MOST_SIGNALS if command.resumable else 0):
                return command.run(cache(lambda kind: _engine(options, models, kind)))
        except SapnetError as error:
            progress.fail(sentence(error), error.exit_code)
            return error.exit_code
        except KeyboardInterrupt:
            progress.stopped("stopped; the output was not written", STOPPED)
            return STOPPED


@contextmanager
def _stopping(stop: Stop, most: int) -> Iterator[None]:
    """Within, a signal asks to stop; more than `most` of them are obeyed at once."""

    def ask(*_: object) -> None:
        stop.ask()
        if stop.asked == 1 and most:
            # Not through the console: the interrupted line may be just writing there.
            os.write(2, STOPPING)
        if stop.asked > most:
            raise KeyboardInterrupt

    with answering(ask):
        yield


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sapnet-stream",
        usage="sapnet-stream [options] INPUT OUTPUT\n       sapnet-stream doctor | bench | live",
        description="Remove rain from a video, an image, or all of a folder. "
        "OUTPUT's ending names the format.",
        epilog="Weights: a bundled name or a file; also from $SAPNET_WEIGHTS. A camera: "
        "sapnet-stream rtsp:// --help; several: sapnet-stream live --help.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=22, width=80),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("input", type=Path, metavar="INPUT", help=argparse.SUPPRESS)
    add("output", type=Path, metavar="OUTPUT", help=argparse.SUPPRESS)
    add("--start", type=number, metavar="SECONDS", help="begin here")
    add("--duration", type=number, metavar="SECONDS", help="stop this much later")
    add_engine_options(parser)
    add("--compare", choices=list(COMPARISONS), help="write input and output in one picture")
    add("--preview", type=int, metavar="FRAME", help="only this frame, both ways, as an image")
    add("--deinterlace", action="store_true", help="whole pictures of frames that are two fields")
    add("--hwaccel", metavar="NAME", help="decode on cuda, vaapi, videotoolbox ... (cpu)")
    codec = f"{' '.join(ENCODERS)} h264_nvenc ... (input's)"
    add_encoder_options(parser, None, codec, "h264: 18", "h264: medium")
    add("--resume", action="store_true", help="go on with what an earlier run left")
    add("--keep-partial", action="store_true", help="only write what an earlier run finished")
    add("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    add("--progress", choices=["json"], help="events for programs on standard output")
    add("--quiet", action="store_true", help="say nothing unless something is wrong")
    add("--version", action="version", version=f"sapnet-stream {sapnet_stream.__version__}")
    return parser


def _progress(options: argparse.Namespace) -> JobProgress | JsonProgress:
    if options.progress == "json":
        return JsonProgress()
    # A file may be called "[red].mp4": names are not markup.
    console = Console(stderr=True, soft_wrap=True, markup=False, emoji=False, highlight=False)
    stages = options.model == "sapnet" and options.stages != 1
    cheaper = CHEAPER if stages else "--duration SECONDS tries a part first"
    return JobProgress(console, cheaper, quiet=options.quiet)


def _engine(options: argparse.Namespace, models: Models, kind: Kind) -> DerainEngine:
    return DerainEngine(
        models.network(kind),
        device=options.device,
        dtype=DTYPES.get(options.dtype),
        stages=options.stages,
        strength=options.strength,
        memory_bytes=None if options.memory is None else int(options.memory * 2**30),
    )


def _live_engine(options: argparse.Namespace) -> DerainEngine:
    return _engine(options, Models(options.model, options.weights), "video")


def _doctor(arguments: list[str]) -> int:
    Parser(
        prog="sapnet-stream doctor", description="Show what this machine and installation can do."
    ).parse_args(arguments)
    for subject, finding in doctor.report():
        print(f"{subject:16} {finding}")
    return 0
