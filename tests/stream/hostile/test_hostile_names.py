"""A name is a name: never an address, a pattern, an option or something a terminal obeys."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Refused = Callable[..., str]
Command = Callable[..., Any]

NAMES = [
    "with space.mkv",
    " .mkv",
    "..mkv",
    "quote'and\"quote.mkv",
    "new\nline.mkv",
    "tab\tbell\a.mkv",
    "return\r.mkv",
    "\x1b[31mred\x1b[0m.mkv",
    "\x1b]0;title\x07.mkv",
    "\x9b2J.mkv",
    "right\u202eto left.mkv",
    "-dash.mkv",
    "--overwrite.mkv",
    "%03d.mkv",
    "100%d%s%n.mkv",
    "a:b.mkv",
    "back\\slash.mkv",
    "star*?[a-z].mkv",
    "$(id)`id`;id|id&.mkv",
    "[red]rain[1].mkv",
    "{0}{name}.mkv",
    "~.mkv",
    "Regen ☔ 雨 👩‍👩‍👧.mkv",
    "bytes\udcff\udc80.mkv",
    "concat:a|b.mkv",
    "subfile,,start,0,end,9,,:a.mkv",
    "file:a.mkv",
    "data:a.mkv",
    "crypto:a.mkv",
    "async:a.mkv",
    "cache:a.mkv",
    "tee:a.mkv",
    "pipe:1.mkv",
    "fd:1.mkv",
    "http:a.mkv",
    "tcp:127.0.0.1.mkv",
    "udp:127.0.0.1.mkv",
]

ADDRESSES = [
    *("http://127.0.0.1:{port}/a.mkv", "https://127.0.0.1:{port}/a.mkv"),
    *("tcp://127.0.0.1:{port}/a.mkv", "rtsp://127.0.0.1:{port}/a.mkv"),
    *("rtmp://127.0.0.1:{port}/a.mkv", "ftp://127.0.0.1:{port}/a.mkv"),
    *("udp://127.0.0.1:{port}/a.mkv", "srt://127.0.0.1:{port}/a.mkv"),
    *("hls+http://127.0.0.1:{port}/a.mkv", "icecast://127.0.0.1:{port}/a.mkv"),
    *("file:secret.mkv", "concat:secret.mkv|secret.mkv", "crypto:secret.mkv", "async:secret.mkv"),
    *("subfile,,start,0,end,9999,,:secret.mkv", "cache:secret.mkv", "concatf:secret.mkv"),
    *("data:video/x-matroska;base64,GkXfow==", "pipe:", "pipe:0", "fd:", "fd:0", "-"),
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_read_and_written(
    command: Command, make_clip: Make, read_clip: Read, tmp_path: Path, name: str
) -> None:
    make_clip("plain.mkv", ticks=range(3)).rename(tmp_path / name)
    (tmp_path / "out").mkdir()
    outcome = command("--", name, f"out/{name}")
    assert (outcome.status, outcome.changed) == (0, {f"out/{name}"}), outcome
    assert len(read_clip(tmp_path / "out" / name).times) == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_complaint_drives_no_terminal(
    refused: Refused, make_clip: Make, name: str
) -> None:
    assert "no such file" in refused(3, "--", name, "out.mkv")
    assert "ending" in refused(4, "--", make_clip("in.mkv"), f"{name[:200]}.doc")


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_no_file(refused: Refused, make_clip: Make, port: int, address: str) -> None:
    clip = make_clip("secret.mkv")
    address = address.format(port=port)
    assert "no such file" in refused(3, "--", address, "out.mkv")
    if "/" in address:
        refused(4, "--", clip, address)


def test_a_name_with_a_number_in_it_is_no_row_of_pictures(refused: Refused, tmp_path: Path) -> None:
    picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
    for name in ("rain%d.png", "rain0.png", "rain1.png"):
        picture.save(tmp_path / "plain.png")
        (tmp_path / "plain.png").rename(tmp_path / name)
    refused(3, "rain%d.png", "out.mkv")


@pytest.mark.parametrize("name", ["", ".", "..", "/", "~", "folder.mkv", "plain.mkv/x", "loop.mkv"])
def test_what_is_no_file_is_refused(
    refused: Refused, make_clip: Make, tmp_path: Path, name: str
) -> None:
    make_clip("plain.mkv")
    (tmp_path / "folder.mkv").mkdir()
    (tmp_path / "loop.mkv").symlink_to("loop.mkv")
    refused(3, "--", name, "out.mkv")
    refused(4, "--", "plain.mkv", name)


@pytest.mark.parametrize(
    "name", ["pipe.mkv", "/dev/zero", "/dev/null", "/dev/urandom", "/dev/tty", "zero.mkv"]
)
def test_pipes_and_devices_are_refused_unopened(
    refused: Refused, make_clip: Make, tmp_path: Path, name: str
) -> None:
    make_clip("plain.mkv")
    # Whoever opens it waits for ever: nobody writes.
    os.mkfifo(tmp_path / "pipe.mkv")
    (tmp_path / "zero.mkv").symlink_to("/dev/zero")
    assert "is a device or a pipe" in refused(3, name, "out.mkv")
    refused(4, "plain.mkv", name, "--overwrite")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_or_written_is_told(
    refused: Refused, make_clip: Make, tmp_path: Path
) -> None:
    make_clip("plain.mkv")
    secret = make_clip("secret.mkv")
    secret.chmod(0)
    assert "permission denied" in refused(3, secret, "out.mkv")
    (tmp_path / "closed").mkdir(mode=0o500)
    refused(4, "plain.mkv", "closed/out.mkv")


def test_long_names_are_read_and_too_long_ones_are_told(
    command: Command, refused: Refused, make_clip: Make
) -> None:
    longest = make_clip("x" * 251 + ".mkv")
    assert command(longest, "plain.mkv").status == 0
    # The folder for its parts would have a longer name still.
    assert "name too long" in refused(4, "plain.mkv", "y" * 251 + ".mkv").lower()
    refused(4, "plain.mkv", "x" * 252 + ".mkv")
    refused(4, "plain.mkv", "d/" * 3000 + "out.mkv")
    refused(3, "d/" * 3000 + "in.mkv", "out.mkv")
