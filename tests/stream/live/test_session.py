"""One connection of an output: nothing waits for a stream that is silent."""

import os
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream.flow import Cancellation
from sapnet_stream.live.address import parse_address
from sapnet_stream.live.output import Output
from sapnet_stream.live.program import VIDEO, Unit
from sapnet_stream.live.session import Session
from sapnet_stream.live.template import describe


def test_pictures_do_not_wait_for_sound_that_does_not_come(
    make_clip: Callable[..., Path],
    sound: Callable[[str], Any],
    eventually: Callable[..., None],
    tmp_path: Path,
) -> None:
    clip = make_clip("in.mkv", "libx264", sounds=[sound("aac")])
    with av.open(str(clip)) as container:
        streams = container.streams
        description = describe(
            lambda target: [target.add_stream_from_template(s, opaque=True) for s in streams]
        )
    path = tmp_path / "out.nut"
    session = Session(Output(parse_address(str(path), "output")), description, Cancellation())
    for n in range(75):
        picture = bytes(30_000)
        session.write(Unit(n, description, VIDEO, picture, n, n, 1, Fraction(1, 25), keyframe=True))
    # Of three seconds one may wait: half of it here, half in the process.
    eventually(lambda: path.exists() and path.stat().st_size > 30 * 30_000)
    session.close()


def test_one_that_cannot_begin_leaves_no_process_and_no_pipe(tmp_path: Path) -> None:
    output = Output(parse_address(str(tmp_path / "out.nut"), "output"))
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before, others = len(os.listdir("/proc/self/fd")), children.read_text()
    with pytest.raises(av.error.FFmpegError):
        Session(output, b"no description", Cancellation())
    assert children.read_text() == others and len(os.listdir("/proc/self/fd")) <= before
