"""What connections leave behind: nothing for Python's collector, and nothing as they last."""

import ctypes
import gc
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream.flow import Cancellation
from sapnet_stream.live.address import parse_address
from sapnet_stream.live.connection import Connection, LivePacket
from sapnet_stream.live.decode import LiveDecoder
from sapnet_stream.live.output import Output
from sapnet_stream.live.program import VIDEO, Encoder, Unit
from sapnet_stream.live.session import Session
from sapnet_stream.live.source import Source
from sapnet_stream.live.source_settings import SourceSettings
from sapnet_stream.live.template import describe_stream
from sapnet_stream.video.codec import EncoderSettings

# Pictures, of which each other one needs none before it: of those FFmpeg's index takes 100 bytes.
WARM, LATER = 500, 5000
MOST_BYTES = 10 * (LATER - WARM)


class _Heap(ctypes.Structure):
    """The struct mallinfo2 of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


@pytest.fixture
def used_bytes() -> Callable[[], int]:
    """The function that says what C has allocated; Python keeps its small objects elsewhere."""
    heap_of = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if heap_of is None:
        pytest.skip("this C library does not say what is allocated")
    heap_of.restype = _Heap

    def used() -> int:
        heap = heap_of()
        return int(heap.uordblks + heap.hblkhd)

    return used


def left_behind(work: Callable[[], object]) -> list[str]:
    """Types of the objects of `work` that keep each other when it is over."""
    # The first time, much is made that stays.
    work()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        work()
        gc.collect()
        return [type(each).__name__ for each in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def packets_of(path: Path) -> Iterator[LivePacket]:
    """The packets of a file; as for an output, the stream is described where it begins."""

    def connected(connection: Connection) -> None:
        describe_stream(connection.video)

    settings = SourceSettings(parse_address(str(path), "input"))
    return Source(settings, Cancellation(), on_connection=connected).packets()


@pytest.fixture
def clip(make_clip: Callable[..., Path], sound: Callable[[str], Any]) -> Path:
    """12 frames and sound."""
    return make_clip("in.mkv", "libx264", sounds=[sound("aac")], options={"bf": "0"})


@pytest.fixture
def encoder(clip: Path) -> Encoder:
    (first, *_) = LiveDecoder().frames(packets_of(clip))
    return Encoder(first.info, EncoderSettings(), None)


def test_a_connection_leaves_nothing_for_the_collector(clip: Path) -> None:
    assert left_behind(lambda: list(LiveDecoder().frames(packets_of(clip)))) == []


def test_a_connection_whose_packets_nobody_decodes_leaves_nothing_either(clip: Path) -> None:
    def drop() -> None:
        for _ in packets_of(clip):
            pass

    assert left_behind(drop) == []


def test_an_encoder_leaves_nothing_for_the_collector(encoder: Encoder) -> None:
    assert left_behind(lambda: Encoder(encoder.info, EncoderSettings(), None).finish()) == []


def test_an_output_that_is_lost_leaves_nothing_for_the_collector(
    encoder: Encoder, tmp_path: Path
) -> None:
    output = Output(parse_address(str(tmp_path / "out.ts"), "output"))

    def lose() -> None:
        session = Session(output, encoder.description, Cancellation())
        session.write(unit(encoder.description, 0))
        session.close()

    assert left_behind(lose) == []


def unit(description: bytes, number: int) -> Unit:
    data, length, whole = bytes(100), Fraction(1, 25), number % 2 == 0
    return Unit(number, description, VIDEO, data, number, number, 1, length, keyframe=whole)


def test_memory_does_not_grow_as_a_connection_lasts(
    clip: Path, tmp_path: Path, used_bytes: Callable[[], int]
) -> None:
    path = tmp_path / "long.nut"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0], opaque=True)
        data = bytes(next(source.demux(video=0)))
        for number in range(LATER + 1):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 25), video
            packet.is_keyframe = number % 2 == 0
            target.mux_one(packet)
    used = {live.number: used_bytes() for live in packets_of(path) if live.number in (WARM, LATER)}
    assert used[LATER] - used[WARM] < MOST_BYTES


def test_memory_does_not_grow_as_an_output_lasts(
    encoder: Encoder, tmp_path: Path, used_bytes: Callable[[], int]
) -> None:
    output = Output(parse_address(str(tmp_path / "out.nut"), "output"))
    session = Session(output, encoder.description, Cancellation())
    used = {}
    for number in range(LATER + 1):
        assert session.write(unit(encoder.description, number))
        if number in (WARM, LATER):
            used[number] = used_bytes()
    session.close()
    assert used[LATER] - used[WARM] < MOST_BYTES
