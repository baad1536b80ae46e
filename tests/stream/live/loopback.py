"""Cameras on loopback: a real RTSP server in a thread, and a proxy that spoils the connection."""

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aio_rtsp_toolkit.server import RtspServer

DEADLINE_SECONDS = 30.0
UNAUTHORISED = b"RTSP/1.0 401 Unauthorized\r\nCSeq: %s\r\nWWW-Authenticate: Basic realm=x\r\n\r\n"
WELL = (
    b"RTSP/1.0 200 OK\r\nCSeq: %s\r\nSession: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: 64\r\n\r\n"
    b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:x\r\n"
)


def wait_until(ready: Callable[[], object], what: str = "") -> None:
    """Wait for a condition; a machine under load may take its time."""
    until = time.monotonic() + DEADLINE_SECONDS
    while not ready():
        assert time.monotonic() < until, f"waited in vain: {what or ready}"
        time.sleep(0.02)


class Silent:
    """A logger that says nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Camera:
    """Serves a folder by RTSP on loopback, at the files' own pace, over and over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.start()

    def url(self, name: str, port: int | None = None) -> str:
        return f"rtsp://127.0.0.1:{port or self.port}/{name}/play_count_0"

    def start(self) -> None:
        """Serve, on the same port as before."""
        self._loop = asyncio.new_event_loop()
        # What is cut off complains.
        self._loop.set_exception_handler(lambda *_: None)
        self._server = RtspServer(str(self.folder), "127.0.0.1", self.port)
        self._server.logger = Silent()
        self.thaw()
        self._call(self._server.start())

    def stop(self) -> None:
        """End all connections, as a camera without power does."""
        self._call(self._hang_up())
        self.freeze()
        assert self._loop is not None
        self._loop.close()
        self._loop = None

    def freeze(self) -> None:
        """Keep the connections, and send nothing."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def thaw(self) -> None:
        assert self._loop is not None
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def close(self) -> None:
        if self._loop is not None:
            if not self._thread.is_alive():
                self.thaw()
            self.stop()

    def _call(self, work: Any) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_SECONDS)

    async def _hang_up(self) -> None:
        # From Python 3.12 on, it waits for the connections.
        closing = asyncio.create_task(self._server.close())
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task(), closing}
        for task in others:
            task.cancel()
        await asyncio.gather(closing, *others, return_exceptions=True)


class Proxy:
    """Forwards TCP on loopback, and spoils it when asked.

    Attributes:
        stalled: nothing passes, connections stay: half open.
        delay_seconds: each piece of data waits so long.
        garbage: every so many pieces one is overwritten; 0 for none.
        requests: of RTSP that clients have sent.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.stalled = False
        self.delay_seconds = 0.0
        self.garbage = 0
        self.requests: list[bytes] = []
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections."""
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def accept(self) -> socket.socket:
        """The next connection."""
        return self._listener.accept()[0]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        pieces = 0
        with contextlib.suppress(OSError):
            while piece := one.recv(1 << 14):
                pieces += 1
                self.requests += re.findall(rb"([A-Z]+) rtsp://", piece)
                while self.stalled:
                    time.sleep(0.02)
                time.sleep(self.delay_seconds)
                if self.garbage and pieces % self.garbage == 0:
                    piece = bytes(len(piece))
                other.sendall(piece)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Refuser:
    """A server that lets nobody in, or gives another `answer`, whatever it is asked."""

    def __init__(self, port: int = 0, answer: bytes = UNAUTHORISED) -> None:
        self._reply = answer
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            while request := client.recv(1 << 14):
                number = request.partition(b"CSeq: ")[2].partition(b"\r\n")[0]
                client.sendall(self._reply % number)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
