"""Headers that promise absurd sizes, rates, times and numbers of streams."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream.video.decode import VideoDecoder

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Refused = Callable[..., str]
Command = Callable[..., Any]
RunAll = Callable[[list[Path], str], list[dict[str, Any]]]

SECOND, MILLISECOND = Fraction(1), Fraction(1, 1000)
YEAR_SECONDS = 365 * 86400
CENTURIES = [0, 1, 300 * YEAR_SECONDS, 300 * YEAR_SECONDS + 1]
SIZES = [(0, 0), (1, 65535), (65535, 65535), (100_000, 100_000), (2**31 - 1, 2**31 - 1)]
CODECS = ["mjpeg", "rawvideo", "ffv1", "mpeg4", "h264", "vp9", "huffyuv"]


@pytest.mark.parametrize("suffix", ["mkv", "avi", "mov", "nut"])
def test_absurd_sizes_take_no_memory_and_end_in_one_sentence(
    run_all: RunAll, tmp_path: Path, suffix: str
) -> None:
    """Whatever the container says, a few bytes of content never become a large picture."""
    clips = []
    for codec in CODECS:
        for width, height in SIZES:
            path = tmp_path / f"{codec}-{width}x{height}.{suffix}"
            if _write(path, codec, width, height, _jpeg(width, height)):
                clips.append(path)
    assert len(clips) >= 5
    results = run_all(clips, "decode")
    for clip, result in zip(clips, results, strict=True):
        assert "error" in result or len(result.get("times", [])) > 0, (clip.name, result)
    peaks = [result["peak_bytes"] for result in results]
    assert max(peaks) - min(peaks) < 300 * 2**20


@pytest.mark.parametrize("suffix", ["mkv", "avi", "mov", "mp4", "nut"])
@pytest.mark.parametrize(
    ("ticks", "time_base", "rate"),
    [
        (range(5), Fraction(1, 10**6), 10**6),
        (range(5), Fraction(1, 10**9), 10**9),
        (range(5), SECOND, Fraction(1, 10**6)),
        (CENTURIES, SECOND, 1),
        ([2**40 + n for n in range(4)], MILLISECOND, 25),
        ([2**62 + n for n in range(4)], MILLISECOND, 25),
        ([n - 10**6 for n in range(4)], Fraction(1, 25), 25),
        ([n - 2**62 for n in range(4)], MILLISECOND, 25),
    ],
    ids=["1e6/s", "1e9/s", "1e-6/s", "centuries", "late", "latest", "negative", "most negative"],
)
def test_absurd_rates_and_times_lose_no_frame(
    command: Command,
    read_clip: Read,
    make_clip: Make,
    tmp_path: Path,
    ticks: list[int],
    time_base: Fraction,
    rate: Fraction,
    suffix: str,
) -> None:
    try:
        clip = make_clip(
            f"in.{suffix}", "mjpeg", "yuvj420p", ticks=ticks, time_base=time_base, rate=rate
        )
        there = len(read_clip(clip).times)
    except (av.error.FFmpegError, ValueError, OverflowError, IndexError):
        pytest.skip("no writer makes such a file")
    for target in ("out.mkv", "out.mp4"):
        outcome = command(clip, target, "--quiet")
        if there == 0 or outcome.status:
            assert (outcome.status, outcome.said.count("\n")) in [(3, 1), (4, 1)], outcome
        else:
            assert len(read_clip(tmp_path / target).times) == there


def test_ten_thousand_streams_are_refused_or_carried(
    command: Command, make_clip: Make, sound: Any
) -> None:
    clip = make_clip("in.mp4", "libx264", noise=False, sounds=[sound("aac")])
    data = clip.read_bytes()
    begin = data.index(b"moov") - 4
    track = data.rindex(b"trak") - 4
    (size,) = struct.unpack(">I", data[track : track + 4])
    moov = data[begin + 4 :] + data[track : track + size] * 10_000
    clip.write_bytes(data[:begin] + struct.pack(">I", 4 + len(moov)) + moov)
    outcome = command(clip, "out.mp4", "--quiet")
    assert outcome.status in (0, 3, 4)
    if outcome.status:
        assert (outcome.said.count("\n"), outcome.changed) == (1, set())


def test_a_sound_that_begins_far_into_a_broadcast_breaks_nothing(
    make_clip: Make, sound: Any, tmp_path: Path
) -> None:
    silent = make_clip("silent.ts", "libx264", size=(320, 240)).read_bytes()
    loud = make_clip("loud.ts", "libx264", size=(320, 240), sounds=[sound("mp2")]).read_bytes()
    # The reader looks at the first 5 MB and at the end.
    before, behind = (1 + size // len(silent) for size in (6_000_000, 500_000))
    (tmp_path / "in.ts").write_bytes(silent * before + loud + silent * behind)
    with VideoDecoder(tmp_path / "in.ts") as decoder:
        assert len(list(decoder)) == 12 * (before + 1 + behind)


def _write(path: Path, codec: str, width: int, height: int, content: bytes) -> bool:
    """Three packets of `content` in a container that promises pictures of that size."""
    try:
        with av.open(str(path), "w") as container:
            stream: Any = container.add_mux_stream(codec, width=width, height=height)
            for number in range(3):
                packet: Any = av.Packet(content)
                packet.pts = packet.dts = number
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                container.mux_one(packet)
    except (av.error.FFmpegError, ValueError, OverflowError):
        return False
    return True


def _jpeg(width: int, height: int) -> bytes:
    """A small picture whose own header promises another size, as far as 16 bits go."""
    context: Any = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = 64, 48, "yuvj420p"
    context.time_base = Fraction(1, 25)
    picture = av.VideoFrame(64, 48, "yuvj420p")
    picture.pts = 0
    data = bytearray(b"".join(bytes(p) for p in context.encode(picture) + context.encode(None)))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", min(height, 65535), min(width, 65535))
    return bytes(data)
