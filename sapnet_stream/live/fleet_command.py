"""The command `sapnet-stream live`: the cameras of a file."""

import argparse
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sapnet_stream.errors import SapnetError, UsageError
from sapnet_stream.live.cameras_file import WHOLE, CamerasFile, read_cameras
from sapnet_stream.live.command import EngineOf
from sapnet_stream.live.console import Console
from sapnet_stream.live.fleet import Fleet
from sapnet_stream.live.redact import Redactor
from sapnet_stream.live.service import Service
from sapnet_stream.live.surface import Surface
from sapnet_stream.live.ways import shared_ways
from sapnet_stream.parser import Parser
from sapnet_stream.signals import STOPPED, STOPS, stopping

# A hangup has the file read again.
ENDS = tuple(each for each in STOPS if each != signal.SIGHUP)
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
            reader = Reader(_parser().parse_args(arguments).file, redactor)
            whole = reader.file.whole
            console = Console(redactor, whole.log, quiet=whole.quiet)
            fleet, surface = Fleet(shared_ways(engine_of), console), Surface(whole)
            reader.begin(fleet, console)
            serving = surface.serving(lambda: fleet.views, console)
            with serving, stopping(fleet.stop, ENDS), closing(fleet):
                exit_status = _run(fleet, hangups, lambda: reader.again(fleet, console))
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
        "--help). One that cannot be reached is tried again, at first too, unless it has persist: "
        "false. SIGHUP reads the file again, and leaves alone what did not change.",
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


def _run(fleet: Fleet, hangups: list[int], again: Callable[[], None]) -> int:
    """Run the cameras, and `again` after a SIGHUP; returns the worst exit status."""
    service = Service()
    next_seconds = 0.0
    while fleet.step():
        if hangups:
            hangups.clear()
            again()
        if time.monotonic() >= next_seconds:
            next_seconds = time.monotonic() + TICK_SECONDS
            service.tick(fleet.statuses)
        time.sleep(STEP_SECONDS)
    return STOPPED if fleet.stopped else fleet.exit_status


class Reader:
    """Reads the file, and reads it again.

    Args:
        path: of it.
        redactor: hides what is secret in it.

    Attributes:
        file: what it said when it was without mistakes last.

    Raises:
        SapnetError: a mistake in it.
    """

    def __init__(self, path: Path, redactor: Redactor) -> None:
        self._path, self._redactor = path, redactor
        self.file = read_cameras(path, redactor)

    def begin(self, fleet: Fleet, console: Console) -> None:
        """Have the cameras of the file.

        Raises:
            SapnetError: the network cannot be had, or not as a camera wants it.
        """
        fleet.want(self.file.cameras)
        if self.file.warning is not None:
            console.event(self.file.warning)

    def again(self, fleet: Fleet, console: Console) -> None:
        """Have the cameras that the file names now; where it has a mistake, those of before."""
        before = self.file
        try:
            self.file = read_cameras(self._path, self._redactor)
            self._check_whole(before)
            self.begin(fleet, console)
        except SapnetError as error:
            self.file = before
            console.event(f"{error}; everything goes on as it was")
            return
        old, new = before.cameras, self.file.cameras
        kept = [name for name in new if name in old]
        changed = sum(old[name] != new[name] for name in kept)
        counts = f"{len(new) - len(kept)} new, {changed} changed, {len(old) - len(kept)} removed"
        console.event(f"read {self._path} again: {counts}, {len(kept) - changed} as they were")

    def _check_whole(self, before: CamerasFile) -> None:
        was, now = vars(before.whole), vars(self.file.whole)
        for key, name in ((key, key.replace("-", "_")) for key in WHOLE):
            if was[name] != now[name]:
                raise UsageError(
                    f"{self._path}: {key} cannot change while the program runs: restart it"
                )
