"""A few pages for machines: is it alive, is it ready, how is it doing. GET only."""

import hmac
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from sapnet_stream.errors import UsageError

# What a page says: whether all is well, and its text.
Page: TypeAlias = Callable[[], tuple[bool, bytes]]

LOOPBACK = "127.0.0.1"
_PATIENCE_SECONDS = 3.0
# At once; each takes a thread.
MOST_READERS = 16


def parse_listen(text: str, token: str | None) -> tuple[str, int]:
    """Host and port of "9100" or "0.0.0.0:9100"; without a host, this machine alone.

    Raises:
        UsageError: it is malformed, or open to others without a token.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or LOOPBACK
    if not port.isdecimal() or not 0 <= int(port) < 65536:
        raise UsageError(f"--metrics must be a port or host:port, got {text!r}")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise UsageError(f"--metrics must name an address of this machine, got {host}") from error
    if not loopback and not token:
        raise UsageError(f"--metrics {text} is open to other machines: protect it with --token-env")
    return host, int(port)


@contextmanager
def serving(
    address: tuple[str, int], pages: dict[str, Page], token: str | None = None
) -> Iterator[int]:
    """Within, pages can be read; gives the port.

    Args:
        address: host and port to listen on; port 0 takes a free one.
        pages: by path, as in "/metrics".
        token: what a reader must send as a bearer token; None lets everyone read.

    Raises:
        UsageError: the port is taken, or the address is not of this machine.
    """
    handler = _handler(pages, token)
    room = threading.Semaphore(MOST_READERS)

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET

        def verify_request(self, *_: object) -> bool:
            return room.acquire(blocking=False)

        def process_request_thread(self, *reader: Any) -> None:
            try:
                super().process_request_thread(*reader)
            finally:
                room.release()

        def handle_error(self, *_: object) -> None:
            """A reader that hangs up is no event, and standard error may be JSON."""

    try:
        server = Server(address, handler)
    except OSError as error:
        where = f"{address[0]}:{address[1]}"
        raise UsageError(f"--metrics cannot listen on {where}: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, name="sapnet-metrics")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(pages: dict[str, Page], token: str | None) -> type[BaseHTTPRequestHandler]:
    """What answers one reader."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE_SECONDS

        def do_GET(self) -> None:
            sent = self.headers.get("Authorization", "").encode()
            page = pages.get(self.path.partition("?")[0])
            if token is not None and not hmac.compare_digest(sent, f"Bearer {token}".encode()):
                self._answer(401, b"a token is needed\n")
            elif page is None:
                self._answer(404, b"there is " + ", ".join(pages).encode() + b"\n")
            else:
                well, text = page()
                self._answer(200 if well else 503, text)

        def _answer(self, status: int, text: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Who reads is nobody's business."""

    return Handler
