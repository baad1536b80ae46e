"""Files that cannot be begun: nothing is left of them, and old ones make room before."""

import io
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sapnet_stream.live.child import Reports
from sapnet_stream.live.fault import Fault
from sapnet_stream.live.output import Keep
from sapnet_stream.live.sender import Sender


def test_a_header_that_cannot_be_written_leaves_no_file(
    make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    clip = make_clip("in.nut", "libx264", noise=False)
    for hour in range(5):
        (tmp_path / f"out-20261126T0{hour}0000Z.mp4").write_bytes(b"whole")
    settings = {
        "url": "",
        "host": "",
        "path": str(tmp_path / "out.mp4"),
        "format": "mp4",
        "options": {"movflags": "nonsense"},
        "segment_seconds": 1.0,
        "keep": asdict(Keep(files=2)),
    }
    with io.FileIO(clip) as pipe:
        fault = Sender(settings, Reports(io.StringIO())).run(pipe)
    assert fault != Fault.ENDED
    left = sorted(each.name for each in tmp_path.glob("out*"))
    assert left == ["out-20261126T030000Z.mp4", "out-20261126T040000Z.mp4"]
