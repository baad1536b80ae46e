"""Packets into frames, where the first ones are missing or the decoder is too slow."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from sapnet_stream.live import decode
from sapnet_stream.live.connection import LivePacket
from sapnet_stream.live.decode import LiveDecoder


@pytest.fixture
def packets(make_clip: Callable[..., Path]) -> Iterator[Callable[..., list[LivePacket]]]:
    """A function that makes 25 packets; a whole picture is the first and each tenth one."""
    containers = []

    def make(**options: str) -> list[LivePacket]:
        given = {"bf": "0", "g": "10", "sc_threshold": "0", **options}
        clip = make_clip("in.mkv", "libx264", ticks=range(25), noise=False, options=given)
        containers.append(av.open(str(clip)))
        video = containers[-1].streams.video[0]
        connection: Any = SimpleNamespace(number=0, video=video, release=lambda: None)
        whole = [packet for packet in containers[-1].demux() if packet.size]
        return [LivePacket(p, connection, n, float(n)) for n, p in enumerate(whole, 1)]

    yield make
    for container in containers:
        container.close()


class Old:
    """What arrived until a time is too old; of each packet and each picture it is asked once."""

    def __init__(self, last_seconds: float) -> None:
        self._last_seconds = last_seconds
        self.asked = 0

    def __call__(self, arrival_seconds: float) -> bool:
        self.asked += 1
        return arrival_seconds <= self._last_seconds


def test_a_connection_begins_with_a_picture_of_its_own(
    packets: Callable[..., list[LivePacket]],
) -> None:
    decoder = LiveDecoder()
    frames = list(decoder.frames(iter(packets()[3:])))
    assert (decoder.skipped, decoder.decoded, decoder.corrupt, decoder.damaged) == (7, 15, 0, 0)
    assert [live.frame.pts for live in frames] == [3600 * n for n in range(10, 25)]
    assert [live.arrival_seconds for live in frames] == list(range(11, 26))


def test_what_is_too_old_is_not_decoded_where_a_whole_picture_came_later(
    packets: Callable[..., list[LivePacket]],
) -> None:
    # The first 15 are too old; of two whole pictures the second, packet 11, has come.
    old = Old(15)
    decoder = LiveDecoder(old, lambda: 11)
    frames = list(decoder.frames(iter(packets())))
    # Those from the whole picture on are decoded, for the others build upon them.
    assert old.asked == 25 + 15
    assert [live.frame.pts for live in frames] == [3600 * n for n in range(15, 25)]
    assert decoder.late == 15 and decoder.skipped == 0 and decoder.came == 25


def test_pictures_that_no_other_builds_upon_are_not_decoded_when_late(
    packets: Callable[..., list[LivePacket]],
) -> None:
    given = packets(bf="2", **{"b-pyramid": "none", "b-adapt": "0"})
    old = Old(20)
    decoder = LiveDecoder(old)
    frames = list(decoder.frames(iter(given)))
    assert decoder.late == 20 and decoder.corrupt == 0
    assert decoder.late + len(frames) == 25
    assert old.asked < 25 + 20


def test_a_decoder_that_does_not_catch_up_begins_anew(
    packets: Callable[..., list[LivePacket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "CATCH_UP_SECONDS", -1.0)
    decoder = LiveDecoder(lambda arrival: 3 <= arrival <= 12)
    frames = list(decoder.frames(iter(packets())))
    # Packet 11 is whole and too old to be shown, 12 begins the next wait.
    assert [live.frame.pts // 3600 for live in frames] == [0, 1, *range(20, 25)]
    assert (decoder.late, decoder.skipped, decoder.corrupt) == (1, 17, 0)


def test_packets_that_become_no_picture_are_counted_as_damaged(
    packets: Callable[..., list[LivePacket]],
) -> None:
    given = packets()
    for number in (4, 5, 14):
        given[number].packet.update(bytes(given[number].packet.size))
    decoder = LiveDecoder()
    frames = list(decoder.frames(iter(given)))
    assert decoder.damaged == decoder.corrupt == 3
    assert len(frames) == decoder.decoded == 22 and decoder.came == 25
