"""The page of `--preview`, three files as they are, and the two addresses that it asks.

With several cameras, all three take `camera=NAME`; without it they show the first.

- /picture?seen=N: two JPEGs in one body, before and after, as soon as there are others than
  those of number N. Headers: `Picture-Number`, and `Before-Bytes`, the length of the first.
  The body is empty where none came for a second.
- /status: the values of `sapnet_stream.live.status.Status` as JSON, buckets left out, and
  `said`, the last change in one sentence; `cameras`, name and state of each.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

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
_NO_CAMERA = Answer(b"there is no camera of that name\n", 404)


@dataclass(frozen=True)
class View:
    """One camera, to be looked at.

    Attributes:
        preview: where the pictures are.
        status: gives the status.
    """

    preview: Preview
    status: Callable[[], Status]


def preview_pages(views: Callable[[], Mapping[str, View]], console: Console) -> dict[str, Page]:
    """The pages by path.

    Args:
        views: gives the cameras by name; the name of a single one is "".
        console: knows what was said, and cleans what is shown.
    """

    def picture(query: str) -> Answer:
        _, view = _chosen(views(), query)
        if view is None:
            return _NO_CAMERA
        match = re.search(r"(?:^|&)seen=(\d{1,18})(?:&|$)", query)
        pair = view.preview.newer(int(match[1]) if match else 0)
        if pair is None:
            return Answer(b"", kind="image/jpeg")
        before, after = pair.pictures
        numbers = {"Picture-Number": str(pair.number), "Before-Bytes": str(len(before))}
        return Answer(before + after, kind="image/jpeg", headers=numbers)

    def state(query: str) -> Answer:
        all_views = views()
        name, view = _chosen(all_views, query)
        if view is None:
            return _NO_CAMERA
        said = console.said.get(name, "")
        cameras = [(each, other.status().state) for each, other in all_views.items()]
        values = {**console.shown(view.status()), "said": said, "cameras": cameras}
        return Answer(json.dumps(values).encode(), kind="application/json")

    files = {path: _file(*file) for path, file in FILES.items()}
    return {**files, "/picture": picture, "/status": state}


def _chosen(views: Mapping[str, View], query: str) -> tuple[str, View | None]:
    """The camera that a query names, or the first."""
    name = parse_qs(query).get("camera", [next(iter(views), "")])[0]
    return name, views.get(name)


def _file(name: str, kind: str) -> Page:
    answer = Answer(
        Path(__file__).with_name(name).read_bytes(),
        kind=f"{kind}; charset=utf-8",
        headers={"Content-Security-Policy": _POLICY},
    )
    return lambda _: answer
