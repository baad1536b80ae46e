"""What systemd is told of camera jobs: that they began, and that they make progress.

The protocol of sd_notify(3): datagrams to the socket that the service manager names.
"""

import os
import socket
from collections.abc import Sequence

from sapnet_stream.live.source import State
from sapnet_stream.live.status import Status

# What works at one frame for so long never ends; others wait a few seconds for the next start.
MOST_HELD_SECONDS = 600.0


class Service:
    """Tells the service manager, where there is one that listens."""

    def __init__(self) -> None:
        # A name that begins with @ is one without a file.
        name = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._ready = False
        self._frames = 0

    def tick(self, statuses: Sequence[Status]) -> None:
        """Say that all is well; say nothing where frames come in and none goes out.

        A camera that is away is no reason to start the program again. Neither is one of several
        that is stuck, for the others go on, until it has been so for `MOST_HELD_SECONDS`; an
        output that is stuck goes on by itself, when its disk does.
        """
        if not self._ready:
            self._ready = True
            self._tell("READY=1")
        frames = sum(status.frames_out for status in statuses)
        running = any(status.state in (State.RUNNING, State.STUCK) for status in statuses)
        hangs = any(status.held_seconds > MOST_HELD_SECONDS for status in statuses)
        if not hangs and (frames != self._frames or not running):
            self._frames = frames
            self._tell("WATCHDOG=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError:
            # The manager is being restarted, or busy; the next tick tells it again.
            return
