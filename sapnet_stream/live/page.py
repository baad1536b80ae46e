"""The page of `--preview`, three files as they are, and the two addresses that it asks.

- /picture?seen=N: two JPEGs in one body, before and after, as soon as there are others than
  those of number N. Headers: `Picture-Number`, and `Before-Bytes`, the length of the first.
  The body is empty where none came for a second.
- /status: the values of `sapnet_stream.live.status.Status` as JSON, buckets left out, and
  `said`, the last change in one sentence.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

from sapnet_stream.live.console import Console
from sapnet_stream.live.preview import Preview
from sapnet_stream.live.server import Answer, Page
from sapnet_stream.live.status import Status

# The page itself says nothing of the camera; it asks for the token that the others need.
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
# What a browser may do for it: run its script and style, and ask this server.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def preview_pages(
    preview: Preview, status: Callable[[], Status], console: Console
) -> dict[str, Page]:
    """The pages by path.

    Args:
        preview: where the pictures are.
        status: gives the status.
        console: knows what was said, and cleans what is shown.
    """

    def picture(query: str) -> Answer:
        match = re.fullmatch(r"seen=(\d{1,18})", query)
        pair = preview.newer(int(match[1]) if match else 0)
        if pair is None:
            return Answer(b"", kind="image/jpeg")
        before, after = pair.pictures
        numbers = {"Picture-Number": str(pair.number), "Before-Bytes": str(len(before))}
        return Answer(before + after, kind="image/jpeg", headers=numbers)

    def state(_: str) -> Answer:
        values = {**console.shown(status()), "said": console.said}
        return Answer(json.dumps(values).encode(), kind="application/json")

    files = {path: _file(*file) for path, file in FILES.items()}
    return {**files, "/picture": picture, "/status": state}


def _file(name: str, kind: str) -> Page:
    answer = Answer(
        Path(__file__).with_name(name).read_bytes(),
        kind=f"{kind}; charset=utf-8",
        headers={"Content-Security-Policy": _POLICY},
    )
    return lambda _: answer
