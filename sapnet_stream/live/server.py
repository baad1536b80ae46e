"""A few pages by HTTP, for whoever may read them. GET only."""

import hmac
import ipaddress
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from sapnet_stream.errors import UsageError


@dataclass(frozen=True)
class Answer:
    """What a page says.

    Attributes:
        body: of the answer.
        status: of HTTP.
        kind: of the body, a media type.
        headers: beside the usual ones.
    """

    body: bytes
    status: int = 200
    kind: str = "text/plain; version=0.0.4; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


# Given the query of a request, "" for none.
Page: TypeAlias = Callable[[str], Answer]

LOOPBACK = "127.0.0.1"
_PATIENCE_SECONDS = 3.0
# Connections at once; each takes a thread.
MOST_READERS = 16
# Nothing that is read here is kept, guessed at, or shown within another page.
_GUARDS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def parse_listen(option: str, text: str, token: str | None) -> tuple[str, int]:
    """Host and port of "9100" or "0.0.0.0:9100"; without a host, this machine alone.

    Args:
        option: by which it was given.
        text: what was typed.
        token: that readers must send.

    Raises:
        UsageError: it is malformed, or open to others without a token.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or LOOPBACK
    if not port.isdecimal() or not 0 <= int(port) < 65536:
        raise UsageError(f"{option} must be a port or host:port, got {text!r}")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise UsageError(f"{option} must name an address of this machine, got {host}") from error
    if not loopback and not token:
        raise UsageError(f"{option} {text} is open to other machines: protect it with --token-env")
    return host, int(port)


@contextmanager
def serving(
    option: str,
    address: tuple[str, int],
    pages: Mapping[str, Page],
    token: str | None = None,
    public: Collection[str] = (),
) -> Iterator[int]:
    """Within, pages can be read; gives the port.

    Args:
        option: that asked for it.
        address: host and port to listen on; port 0 takes a free one.
        pages: by path, as in "/metrics".
        token: what a reader must send as a bearer token; None lets everyone read who calls
            this machine by its address, or "localhost".
        public: paths of pages that need no token.

    Raises:
        UsageError: the port is taken, or the address is not of this machine.
    """
    over = threading.Event()
    handler = _handler(pages, token, public, over)
    room = threading.Semaphore(MOST_READERS)

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET

        def verify_request(self, *_: object) -> bool:
            return room.acquire(blocking=False)

        def process_request(self, *reader: Any) -> None:
            try:
                super().process_request(*reader)
            except RuntimeError:
                # The machine has no thread left for this reader.
                room.release()
                raise

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
        raise UsageError(f"{option} cannot listen on {where}: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, name=f"sapnet{option}")
    thread.start()
    try:
        yield server.server_port
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(
    pages: Mapping[str, Page],
    token: str | None,
    public: Collection[str],
    over: threading.Event,
) -> type[BaseHTTPRequestHandler]:
    """What answers one reader."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE_SECONDS
        # The end of a picture must not wait for the reader's word on its beginning.
        disable_nagle_algorithm = True
        # One connection serves a reader's next request too.
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            page = pages.get(path)
            if token is None and _misled(self.headers.get("Host", "")):
                self._answer(Answer(b"call this machine by its address, or localhost\n", 421))
            elif token is not None and path not in public and not self._knows(token):
                self._answer(Answer(b"a token is needed\n", 401))
            elif page is None:
                self._answer(Answer(b"there is " + ", ".join(pages).encode() + b"\n", 404))
            else:
                self._answer(page(query))

        def _knows(self, token: str) -> bool:
            sent = self.headers.get("Authorization", "").encode()
            return hmac.compare_digest(sent, f"Bearer {token}".encode())

        def _answer(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in {**_GUARDS, **answer.headers}.items():
                self.send_header(name, value)
            # A body, which nobody reads, would be taken for the next request.
            body = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
            if body or over.is_set():
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.body)

        def version_string(self) -> str:
            """Which versions answer is nobody's business."""
            return "sapnet-stream"

        def log_message(self, *_: object) -> None:
            """Who reads is nobody's business."""

    return Handler


def _misled(host: str) -> bool:
    """Whether a browser took this machine for another: by a name that anyone can point here.

    Without this, any page could show a name of its own, let it lead here, and read on.
    """
    try:
        name = urlsplit(f"//{host}").hostname or LOOPBACK
        if name != "localhost":
            ipaddress.ip_address(name)
    except ValueError:
        return True
    return False
