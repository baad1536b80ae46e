"""What can be read of a camera job from outside: pages for machines, and the preview."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from sapnet_stream.live.address import read_password
from sapnet_stream.live.console import Console
from sapnet_stream.live.metrics import metrics_of
from sapnet_stream.live.page import FILES, View, preview_pages
from sapnet_stream.live.server import Answer, Page, parse_listen, serving
from sapnet_stream.live.status import Status


class Surface:
    """Where to listen, and who may read.

    Args:
        options: metrics, preview, token_env and token_file.

    Raises:
        UsageError: a mistake among them.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._token = read_password(options.token_env, options.token_file, "--token")
        typed = {"--metrics": options.metrics, "--preview": options.preview}
        self._listens = {
            option: parse_listen(option, text, self._token)
            for option, text in typed.items()
            if text is not None
        }

    @contextmanager
    def serving(self, views: Callable[[], Mapping[str, View]], console: Console) -> Iterator[None]:
        """Within, what was asked for can be read.

        Args:
            views: gives the cameras by name; see `preview_pages`.
            console: says where the preview is.

        Raises:
            UsageError: a port is taken.
        """
        pages = {
            "--metrics": _pages_for_machines(lambda: [v.status() for v in views().values()]),
            "--preview": preview_pages(views, console),
        }
        with ExitStack() as stack:
            for option, (host, port) in self._listens.items():
                public = FILES if option == "--preview" else ()
                server = serving(option, (host, port), pages[option], self._token, public)
                port = stack.enter_context(server)
                if option == "--preview":
                    shown = f"[{host}]" if ":" in host else host
                    console.event(f"the preview is at http://{shown}:{port}/")
            yield


def _pages_for_machines(statuses: Callable[[], Sequence[Status]]) -> dict[str, Page]:
    metrics = metrics_of(statuses)

    def ready(_: str) -> Answer:
        now = statuses()
        late = [status for status in now if not status.ready]
        lines = [f"{status.camera}: {status}\n" for status in late or now]
        return Answer("".join(lines).encode(), 503 if late or not now else 200)

    return {
        "/healthz": lambda _: Answer(b"alive\n"),
        "/readyz": ready,
        "/metrics": lambda _: Answer(metrics()),
    }
