"""The command `sapnet-stream live`: the cameras of a file."""

import argparse
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sapnet_stream.errors import SapnetError, UsageError
from sapnet_stream.live.cameras_file import WHOLE, CamerasFile, Entry, read_cameras
from sapnet_stream.live.command import STOPPED, EngineOf
from sapnet_stream.live.console import Console
from sapnet_stream.live.fleet import Fleet, WaysOf
from sapnet_stream.live.ladder import Way
from sapnet_stream.live.redact import Redactor
from sapnet_stream.live.service import Service
from sapnet_stream.live.shared_engine import SharedEngine
from sapnet_stream.live.stopping import stopping
from sapnet_stream.live.surface import Surface
from sapnet_stream.live.ways import ways
from sapnet_stream.parser import Parser

STOPS = (signal.SIGINT, signal.SIGTERM)
STEP_SECONDS = 0.2
TICK_SECONDS = 1.0


def live_cameras(arguments: list[str], engine_of: EngineOf) -> int:
    """Run the cameras of a file until all have ended; returns the worst exit status.

    Args:
        arguments: of the command line, behind "live".
        engine_of: see `live`.
    """
    redactor = Redactor()
    console = Console(redactor, "text")
    try:
        with _hangups() as hangups:
            path = _parser().parse_args(arguments).file
            file = read_cameras(path, redactor)
            console = Console(redactor, file.whole.log, quiet=file.whole.quiet)
            if file.warning is not None:
                console.event(file.warning)
            surface = Surface(file.whole)
            fleet = Fleet(_ways_by(engine_of), console)
            fleet.want(file.cameras)

            def listen() -> None:
                nonlocal file
                if hangups:
                    hangups.clear()
                    file = _again(path, redactor, file, fleet, console)

            with (
                surface.serving(lambda: fleet.views, console),
                stopping(fleet.stop, STOPS),
                closing(fleet),
            ):
                exit_status = _run(fleet, listen)
    except SapnetError as error:
        console.end("error", str(error), error.exit_code)
        return error.exit_code
    except KeyboardInterrupt:
        # While the network was loaded.
        console.end("stopped", "stopped before it began", STOPPED)
        return STOPPED
    if exit_status == STOPPED:
        console.end("stopped", "stopped", STOPPED)
    elif exit_status:
        console.end("error", "no camera is left", exit_status)
    return exit_status


def _parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="sapnet-stream live",
        description="Remove rain from the streams of several cameras on one device, unattended. "
        "FILE names them, in YAML; each takes the options of one camera (sapnet-stream rtsp:// "
        "--help). SIGHUP reads the file again, and leaves alone what did not change.",
    )
    made.add_argument("file", type=Path, metavar="FILE", help="as in configs/deploy/cameras.yaml")
    return made


@contextmanager
def _hangups() -> Iterator[list[int]]:
    """Within, SIGHUP is written down; also where it was to be ignored, for it ends nothing."""
    hangups: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: hangups.append(number))
    try:
        yield hangups
    finally:
        signal.signal(signal.SIGHUP, before)


def _ways_by(engine_of: EngineOf) -> WaysOf:
    """The ways of a camera; all cameras derain by the same networks."""
    engines: dict[int | None, SharedEngine] = {}

    def engine(options: argparse.Namespace) -> SharedEngine:
        if options.stages not in engines:
            engines[options.stages] = SharedEngine(lambda: engine_of(options))
        return engines[options.stages]

    def ways_of(entry: Entry) -> list[Way]:
        return ways(entry.options, engine)

    return ways_of


def _run(fleet: Fleet, listen: Callable[[], None]) -> int:
    """Run the cameras, and `listen` in between; returns the worst exit status."""
    service = Service()
    next_seconds = 0.0
    while fleet.step():
        listen()
        if time.monotonic() >= next_seconds:
            next_seconds = time.monotonic() + TICK_SECONDS
            service.tick(fleet.statuses)
        time.sleep(STEP_SECONDS)
    return STOPPED if fleet.stopped else fleet.exit_status


def _again(
    path: Path, redactor: Redactor, before: CamerasFile, fleet: Fleet, console: Console
) -> CamerasFile:
    """Reads the file again; returns what holds from now on."""
    try:
        file = read_cameras(path, redactor)
        was, now = vars(before.whole), vars(file.whole)
        for key in WHOLE:
            if was[key.replace("-", "_")] != now[key.replace("-", "_")]:
                raise UsageError(f"{path}: {key} cannot change while the program runs: restart it")
        fleet.want(file.cameras)
    except SapnetError as error:
        console.event(f"{error}; everything goes on as it was")
        return before
    old, new = before.cameras, file.cameras
    kept = [name for name in new if name in old]
    changed = sum(old[name] != new[name] for name in kept)
    counts = f"{len(new) - len(kept)} new, {changed} changed, {len(old) - len(kept)} removed"
    console.event(f"read {path} again: {counts}, {len(kept) - changed} as they were")
    if file.warning is not None:
        console.event(file.warning)
    return file
