"""The page of `--preview` served, a browser to look at it, and a camera that shows the time."""

import base64
import fcntl
import itertools
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sapnet_stream.live.address import parse_address
from sapnet_stream.live.console import Console
from sapnet_stream.live.page import FILES, View, preview_pages
from sapnet_stream.live.redact import Redactor
from sapnet_stream.live.server import serving
from sapnet_stream.live.template import FLUSH_PACKETS

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# Chromium reads the protocol from its third file and writes it to the fourth.
WITH_PIPES = 'exec "$@" 3<&{} 4>&{}'


class Browser:
    """One tab of headless Chromium, asked through its own protocol; it reaches this machine alone.

    Attributes:
        complaints: what the page's console said: errors, and what its policy forbade.
    """

    def __init__(self, program: str, folder: Path) -> None:
        for_it, self._to = os.pipe()
        self._from, of_it = os.pipe()
        # Out of the way of the numbers they get.
        ends = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (for_it, of_it)]
        options = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--remote-debugging-pipe", f"--user-data-dir={folder}", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update"),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        ]
        self._process = subprocess.Popen(
            ["bash", "-c", WITH_PIPES.format(*ends), "bash", program, *options],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for each in (for_it, of_it, *ends):
            os.close(each)
        self._said = b""
        self._loaded = False
        self._numbers = itertools.count(1)
        self._tab: dict[str, str] = {}
        self.complaints: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._tab = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        """End the browser, and wait until its children have."""
        os.close(self._to)
        while os.read(self._from, 1 << 16):
            pass
        os.close(self._from)
        self._process.wait(30)

    def ask(self, method: str, **values: Any) -> Any:
        """Have something done; see the DevTools protocol."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": values, **self._tab}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (said := self._hear()).get("id") != number:
            pass
        assert "error" not in said, said
        return said["result"]

    def look(self, script: str) -> Any:
        """The value of an expression."""
        said = self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def text(self, name: str) -> str:
        """What an element says, "" while it is hidden."""
        text: str = self.look(f"at('{name}').getClientRects().length ? at('{name}').innerText : ''")
        return text

    def open(self, url: str, width: int, height: int, *, phone: bool = False) -> None:
        """Show a page, and wait until it is there."""
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1}
        self.ask("Emulation.setDeviceMetricsOverride", **size, mobile=phone)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=phone)
        self._loaded = False
        self.ask("Page.navigate", url=url)
        while not self._loaded:
            self._hear()

    def mouse(self, kind: str, x: float, y: float) -> None:
        """kind: mousePressed, mouseMoved or mouseReleased."""
        self.ask(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1
        )

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """kind: touchStart, touchMove or touchEnd."""
        touches = [{"x": x, "y": y} for x, y in points]
        self.ask("Input.dispatchTouchEvent", type=kind, touchPoints=touches)

    def press(self, key: str) -> None:
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))

    def _hear(self) -> Any:
        while b"\0" not in self._said:
            piece = os.read(self._from, 1 << 16)
            assert piece, "the browser died"
            self._said += piece
        line, _, self._said = self._said.partition(b"\0")
        said = json.loads(line)
        self._loaded = self._loaded or said.get("method") == "Page.loadEventFired"
        entry = said.get("params", {}).get("entry", {})
        if said.get("method") == "Runtime.exceptionThrown" or entry.get("level") == "error":
            self.complaints.append(json.dumps(said["params"]))
        return said


class Clock:
    """A camera that shows the time: milliseconds in 16 bits, white for 1, from left to right."""

    SIZE, BITS = (640, 64), 16

    def __init__(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"udp://127.0.0.1:{free.getsockname()[1]}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def now(self) -> int:
        return time.monotonic_ns() // 1_000_000 % (1 << self.BITS)

    def _send(self) -> None:
        width, height = self.SIZE
        with av.open(f"{self.url}?pkt_size=1316", "w", format="mpegts") as target:
            target.flags |= FLUSH_PACKETS
            options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}
            stream = target.add_stream("libx264", rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            while not self._over.wait(1 / 25):
                bits = [self.now() >> bit & 1 for bit in reversed(range(self.BITS))]
                row = np.repeat(np.array(bits, np.uint8) * 255, width // self.BITS)
                image = np.broadcast_to(row[None, :, None], (height, width, 3))
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
                target.mux(stream.encode(picture))


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A camera that shows the time."""
    made = Clock()
    yield made
    made.close()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("needs a browser: Debian's chromium-headless-shell")
    opened = Browser(program, tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


@pytest.fixture
def page() -> Callable[..., AbstractContextManager[str]]:
    """A function that serves the page of one job or several, and gives its address."""
    secret = parse_address("rtsp://joe:pass-word@cam/x", "input")

    @contextmanager
    def serve(*jobs: Any, token: str | None = None, port: int = 0) -> Iterator[str]:
        console = Console(Redactor([secret]), "text", quiet=True)
        console.event(f"lost {secret.url}")
        views = {job.name: View(job.preview, partial(getattr, job, "status")) for job in jobs}
        pages = preview_pages(lambda: views, console)
        with serving("--preview", ("127.0.0.1", port), pages, token, FILES) as port:
            yield f"http://127.0.0.1:{port}/"

    return serve
