"""A camera job of a test."""

import threading
import time
from contextlib import AbstractContextManager
from typing import Any

import torch

from sapnet_stream.errors import SapnetError
from sapnet_stream.flow import Cancelled
from sapnet_stream.live.address import Address, parse_address
from sapnet_stream.live.camera import Camera, CameraSettings
from sapnet_stream.live.ladder import Way
from sapnet_stream.live.output import Output
from sapnet_stream.live.preview import Preview
from sapnet_stream.live.source_settings import SourceSettings
from sapnet_stream.live.status import Status


class Nothing:
    """Stands in for the network: changes nothing."""

    name = "nothing"

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


class Run:
    """A camera job on a thread of its own."""

    def __init__(
        self,
        source: str | Address,
        outputs: list[Output],
        ways: list[Way],
        rescale: bool,
        device: AbstractContextManager[None] | None = None,
        name: str = "",
        **wishes: Any,
    ) -> None:
        self.name = name
        self.events: list[str] = []
        self.ticks: list[Status] = []
        self.error: Exception | None = None
        address = parse_address(source, "input") if isinstance(source, str) else source
        settings = SourceSettings(address, **{"cap_seconds": 0.5, **wishes})
        job = CameraSettings(settings, tuple(outputs), rescale=rescale, name=name)
        self.preview = Preview()
        told = self.events.append, self.ticks.append, self.preview.show
        self.camera = Camera(job, ways, *told, device)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    @property
    def status(self) -> Status:
        return self.camera.status

    @property
    def attempts(self) -> int:
        """Attempts to connect so far."""
        return self.camera._source.stats.attempts

    def stop(self) -> Status:
        began = time.monotonic()
        self.camera.cancel()
        self.thread.join(30)
        assert not self.thread.is_alive()
        # The promise is five seconds.
        assert time.monotonic() - began < 5
        return self.status

    def _run(self) -> None:
        try:
            self.camera.run()
        except Cancelled:
            return
        except SapnetError as error:
            self.error = error
