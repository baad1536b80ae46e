"""Packets into frames, where the first ones are missing."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av

from sapnet_stream.live.connection import LivePacket
from sapnet_stream.live.decode import LiveDecoder


def test_a_connection_begins_with_a_picture_of_its_own(make_clip: Callable[..., Path]) -> None:
    options = {"bf": "0", "g": "10"}
    clip = make_clip("in.mkv", "libx264", ticks=range(25), noise=False, options=options)
    decoder = LiveDecoder()
    with av.open(str(clip)) as container:
        video = container.streams.video[0]
        connection: Any = SimpleNamespace(number=0, video=video, release=lambda: None)
        packets = [packet for packet in container.demux() if packet.size]
        kept = [LivePacket(p, connection, n, 7.0) for n, p in enumerate(packets[3:], 1)]
        frames = list(decoder.frames(iter(kept)))
    assert (decoder.skipped, decoder.decoded, decoder.corrupt) == (7, 15, 0)
    assert [live.frame.pts for live in frames] == [3600 * n for n in range(10, 25)]
    assert {live.arrival_seconds for live in frames} == {7.0}
