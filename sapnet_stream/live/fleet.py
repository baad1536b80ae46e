"""Several cameras in one process, each a job of its own, on one device."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sapnet_stream.errors import OutputError, SapnetError, UsageError, WeightsError
from sapnet_stream.flow import Cancelled
from sapnet_stream.live.camera import Camera
from sapnet_stream.live.cameras_file import Entry
from sapnet_stream.live.console import Console
from sapnet_stream.live.fault import mistake
from sapnet_stream.live.ladder import Way
from sapnet_stream.live.page import View
from sapnet_stream.live.preview import Preview
from sapnet_stream.live.source import State
from sapnet_stream.live.status import Status
from sapnet_stream.live.turns import Turns

_WAIT_SECONDS = 0.1
# A camera that failed begins again after so long, unless that would fail in the same way.
AGAIN_SECONDS = 30.0
# One that takes longer to end, five seconds being promised, hangs.
MOST_LEAVING_SECONDS = 10.0
_HOPELESS = {0, *(error.exit_code for error in (UsageError, OutputError, WeightsError))}
WaysOf = Callable[[Entry], Sequence[Way]]


class Member:
    """One camera on a thread of its own; whatever becomes of it, the others do not notice.

    Args:
        name: of the camera.
        entry: what it does.
        ways: how it is derained.
        turns: of the device.
        console: told what changes, under the camera's name.

    Attributes:
        entry: what it does.
        exit_status: 0 while it runs and where its source ended; otherwise see `SapnetError`.
        view: of the camera.
    """

    def __init__(
        self, name: str, entry: Entry, ways: Sequence[Way], turns: Turns, console: Console
    ) -> None:
        self.entry = entry
        self.exit_status = 0
        self._name = name
        self._console = console
        self._turn = turns.join()
        self._cancelled_seconds = math.inf
        self._ended_seconds = math.inf
        preview = Preview()
        self._camera = Camera(
            entry.settings,
            ways,
            lambda text: console.event(text, name),
            lambda status: console.status(status, name),
            preview.show,
            self._turn,
        )
        self.view = View(preview, lambda: self.status)
        self._thread = threading.Thread(target=self._run, name=f"sapnet-camera {name}")
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return not self._thread.is_alive()

    @property
    def status(self) -> Status:
        """How it is going; one that failed has ended, whatever it did before."""
        status = self._camera.status
        return replace(status, state=State.ENDED) if self.ended else status

    @property
    def over(self) -> bool:
        """Whether it ended for good, not of what may be over in a while."""
        hopeless = self.exit_status in _HOPELESS or not self.entry.settings.source.persist
        return self.ended and hopeless

    @property
    def leaving(self) -> bool:
        """Whether it was cancelled and is completing its files; one that hangs never will."""
        waited = time.monotonic() - self._cancelled_seconds
        return not self.ended and waited < MOST_LEAVING_SECONDS

    @property
    def begins_again(self) -> bool:
        """Whether it has been ended for long enough."""
        long_ago = time.monotonic() - self._ended_seconds >= AGAIN_SECONDS
        return self.ended and long_ago and not self.over

    def cancel(self) -> None:
        """End it; its files are completed. May be repeated."""
        self._cancelled_seconds = min(self._cancelled_seconds, time.monotonic())
        self._turn.leave()
        self._camera.cancel()

    def _run(self) -> None:
        try:
            self._camera.run()
            self._tell(str(self._camera.status))
        except Cancelled:
            self._tell(f"stopped; {self._camera.status}")
        except SapnetError as error:
            self._fail(str(error), error.exit_code)
        except Exception as error:  # noqa: BLE001 - told, and the end of this camera alone
            self._fail(f"{mistake(error)}, a mistake in sapnet-stream", 1)
        finally:
            self._turn.leave()
            self._ended_seconds = time.monotonic()

    def _tell(self, text: str) -> None:
        self._console.clear(self._name)
        self._console.event(text, self._name)

    def _fail(self, text: str, exit_status: int) -> None:
        self.exit_status = exit_status
        self._console.end("error", text, exit_status, self._name)


class Fleet:
    """Keeps the cameras running that are wanted, and no others.

    Args:
        ways_of: how a camera is derained.
        console: told what changes.

    Attributes:
        stopped: `stop` was called.
    """

    def __init__(self, ways_of: WaysOf, console: Console) -> None:
        self._ways_of = ways_of
        self._console = console
        self._turns = Turns()
        self._wanted: dict[str, tuple[Entry, Sequence[Way]]] = {}
        # Replaced as a whole: others read it at any moment.
        self._members: dict[str, Member] = {}
        self.stopped = False

    def want(self, entries: Mapping[str, Entry]) -> None:
        """Have these cameras, by name, from the next `step` on; one that has ended begins again.

        Raises:
            SapnetError: a mistake among them; nothing has changed.
        """
        self._wanted = {name: (entry, self._ways_of(entry)) for name, entry in entries.items()}
        self._members = {name: m for name, m in self._members.items() if not m.ended}

    def stop(self) -> None:
        """Have none from the next `step` on; safe in a signal handler."""
        self.stopped = True

    def step(self) -> bool:
        """Start and stop what differs from what is wanted, at once; whether any runs or will.

        None begins before those that go have completed their files, unless they hang: it may
        write to the same.
        """
        wanted, leaving = {} if self.stopped else self._wanted, False
        for name, member in self._members.items():
            if name in wanted and wanted[name][0] == member.entry and not member.begins_again:
                continue
            member.cancel()
            if member.ended:
                self._members = {n: m for n, m in self._members.items() if n != name}
            leaving |= member.leaving
        for name, (entry, ways) in wanted.items():
            if name not in self._members and not leaving:
                member = Member(name, entry, ways, self._turns, self._console)
                self._members = {**self._members, name: member}
        order = [*wanted, *self._members]
        self._members = {name: self._members[name] for name in order if name in self._members}
        return leaving or not all(member.over for member in self._members.values())

    def close(self) -> None:
        """End all, and wait for that."""
        self.stop()
        while self.step():
            time.sleep(_WAIT_SECONDS)

    @property
    def views(self) -> dict[str, View]:
        """Of all cameras, by name, in the order of the file."""
        return {name: member.view for name, member in self._members.items()}

    @property
    def statuses(self) -> list[Status]:
        """Of all cameras."""
        return [member.status for member in self._members.values()]

    @property
    def exit_status(self) -> int:
        """The worst of all cameras."""
        return max((member.exit_status for member in self._members.values()), default=0)
