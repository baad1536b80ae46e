"""A source read by a test."""

import threading
import time
from typing import Any

from sapnet_stream.errors import InputError
from sapnet_stream.flow import Cancellation, Cancelled
from sapnet_stream.live.address import parse_address
from sapnet_stream.live.source import Source
from sapnet_stream.live.source_settings import SourceSettings


class Reader:
    """Reads a source on a thread of its own, and keeps the times of what came."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.cancellation = Cancellation()
        self.events: list[str] = []
        self.video: list[float] = []
        self.audio: list[float] = []
        self.resumed: list[None] = []
        self.error: Exception | None = None
        self.source = Source(
            SourceSettings(parse_address(url, "input"), **{"cap_seconds": 0.5, **settings}),
            self.cancellation,
            lambda packet: self.audio.append(float(packet.pts * packet.time_base)),
            on_event=self.events.append,
            on_resumed=lambda: self.resumed.append(None),
        )
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    @property
    def stats(self) -> Any:
        return self.source.stats

    def stop(self) -> None:
        began = time.monotonic()
        self.cancellation.cancel()
        self.thread.join(20)
        assert not self.thread.is_alive()
        # The promise is five seconds.
        assert time.monotonic() - began < 4

    def _run(self) -> None:
        try:
            for packet in self.source.packets():
                self.video.append(float(packet.packet.pts * packet.packet.time_base))
        except Cancelled:
            return
        except InputError as error:
            self.error = error
