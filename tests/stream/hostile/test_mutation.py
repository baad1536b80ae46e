"""Damaged files: every mutation of a real clip ends in frames, counts or one sentence."""

import itertools
import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sapnet_stream.errors import InputError
from sapnet_stream.video.decode import VideoDecoder

RunAll = Callable[[list[Path], str], list[dict[str, Any]]]

FRAMES = 24
STEP_SECONDS = 1 / 25
# What is said of frames that are damaged, lost or moved.
TOLD = re.compile("damaged packets|is cut short|are not there|went back in time")


@dataclass(frozen=True)
class Recipe:
    """A clip of `FRAMES` pictures: its file, its codecs and their options."""

    name: str
    video: str
    pixel_format: str
    audio: str
    subtitles: str | None
    options: dict[str, str]


RECIPES = [
    Recipe("h264.mp4", "libx264", "yuv420p", "aac", "mov_text", {"g": "8", "bf": "2"}),
    Recipe(
        "hevc.mp4",
        "libx265",
        "yuv420p",
        "aac",
        "mov_text",
        {"x265-params": "log-level=none:keyint=8:bframes=2:pools=1"},
    ),
    Recipe("vp9.webm", "libvpx-vp9", "yuv420p", "libopus", "webvtt", {"g": "8", "cpu-used": "8"}),
    Recipe("mpeg4.avi", "mpeg4", "yuv420p", "libmp3lame", None, {"g": "8", "bf": "2"}),
    Recipe("ffv1.mkv", "ffv1", "yuv422p10le", "flac", "subrip", {"level": "3", "slicecrc": "1"}),
    Recipe("h264.ts", "libx264", "yuv420p", "mp2", None, {"g": "8", "bf": "2"}),
    Recipe("mjpeg.mov", "mjpeg", "yuvj422p", "pcm_s16le", None, {}),
    Recipe("h264.mkv", "libx264", "yuv420p", "libopus", "subrip", {"g": "8", "bf": "2"}),
]


def make_clip(recipe: Recipe, folder: Path) -> Path:
    path = folder / recipe.name
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(recipe.video, rate=25, options=recipe.options)
        video.width, video.height, video.pix_fmt = 96, 64, recipe.pixel_format
        video.codec_context.thread_count = 1
        audio: Any = container.add_stream(recipe.audio, rate=48000)
        audio.layout = "mono"
        words: Any = container.add_mux_stream(recipe.subtitles) if recipe.subtitles else None
        packets = _pictures(video) + _sound(audio)
        if words is not None:
            words.time_base = Fraction(1, 1000)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
        for number in range(3 if words is not None else 0):
            packet = av.Packet(b"\0\4word" if recipe.subtitles == "mov_text" else b"word")
            packet.stream, packet.time_base = words, Fraction(1, 1000)
            packet.pts = packet.dts = 300 * number
            packet.duration = 200
            container.mux(packet)
    return path


def _pictures(stream: Any) -> list[Any]:
    packets = []
    for number in range(FRAMES):
        rows, columns = np.mgrid[: stream.height, : stream.width]
        ramp = rows * 3 + columns * 2 + number * 9
        grain = np.random.default_rng(number).integers(0, 40, ramp.shape)
        rgb = np.stack((ramp, 255 - ramp, ramp + grain), axis=2).astype(np.uint8)
        picture = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=stream.pix_fmt)
        picture.pts, picture.time_base = number, Fraction(1, 25)
        packets += stream.encode(picture)
    return packets + list(stream.encode(None))


def _sound(stream: Any) -> list[Any]:
    kind = stream.codec_context.format.name
    resampler = av.AudioResampler(kind, "mono", 48000)
    block = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), "s16", "mono")
    block.sample_rate, block.pts, block.time_base = 48000, 0, Fraction(1, 48000)
    fifo = av.AudioFifo()
    for part in resampler.resample(block):
        fifo.write(part)
    packets: list[Any] = []
    while (samples := fifo.read(stream.codec_context.frame_size or 1024)) is not None:
        packets += stream.encode(samples)
    return packets + list(stream.encode(None))


def mutate(data: bytes, other: bytes, choose: random.Random) -> bytes:
    """One to three kinds of damage, where and how much drawn by `choose`."""
    for kind in choose.choices(DAMAGES, k=choose.choice((1, 1, 1, 2, 3))):
        if len(data) > 1:
            data = kind(data, other, choose)
    return data


def flip_bits(data: bytes, _: bytes, choose: random.Random) -> bytes:
    damaged = bytearray(data)
    for _bit in range(choose.choice((1, 1, 4, 20, 200))):
        damaged[choose.randrange(len(damaged))] ^= 1 << choose.randrange(8)
    return bytes(damaged)


def flip_header(data: bytes, _: bytes, choose: random.Random) -> bytes:
    """Bits near an end of the file, where containers keep what they say of the whole."""
    damaged = bytearray(data)
    for _bit in range(choose.choice((1, 1, 3, 10))):
        place = choose.randrange(min(2000, len(data)))
        damaged[choose.choice((place, -1 - place))] ^= 1 << choose.randrange(8)
    return bytes(damaged)


def cut_end(data: bytes, _: bytes, choose: random.Random) -> bytes:
    return data[: choose.randrange(1, len(data))]


def cut_middle(data: bytes, _: bytes, choose: random.Random) -> bytes:
    begin, end = part(data, choose)
    return data[:begin] + data[end:]


def zero(data: bytes, _: bytes, choose: random.Random) -> bytes:
    begin, end = part(data, choose)
    return data[:begin] + bytes(end - begin) + data[end:]


def duplicate(data: bytes, _: bytes, choose: random.Random) -> bytes:
    begin, end = part(data, choose)
    return data[:end] + data[begin:end] + data[end:]


def swap(data: bytes, _: bytes, choose: random.Random) -> bytes:
    """Two neighbouring parts change places."""
    begin, end = part(data, choose)
    middle = choose.randint(begin, end)
    return data[:begin] + data[middle:end] + data[begin:middle] + data[end:]


def swap_boxes(data: bytes, _: bytes, choose: random.Random) -> bytes:
    """Two names of boxes or tags change places, or one is put over another."""
    names = [name for name in NAMES if name in data]
    if len(names) < 2:
        return data
    one, two = choose.sample(names, 2)
    if len(one) != len(two):
        return data.replace(one, one[::-1], 1)
    return data.replace(one, b"\0" * len(one), 1).replace(two, one, 1)


def widen_number(data: bytes, _: bytes, choose: random.Random) -> bytes:
    """A size, count or time becomes one that no honest writer wrote."""
    damaged = bytearray(data)
    near = choose.choice((200, 1500, len(data)))
    place = choose.randrange(min(near, len(data)))
    damaged[place : place + 4] = choose.choice(NUMBERS)
    return bytes(damaged)


def splice(data: bytes, other: bytes, choose: random.Random) -> bytes:
    """The beginning of another file before the rest of this one."""
    size = choose.choice((4, 16, 64, 512, 2048))
    return other[:size] + data[choose.choice((0, size)) :]


def part(data: bytes, choose: random.Random) -> tuple[int, int]:
    size = min(len(data), choose.choice((1, 4, 16, 100, 188, 1000, 5000)))
    begin = choose.randrange(len(data) - size + 1)
    return begin, begin + size


DAMAGES: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (
    *(flip_bits, flip_header, cut_end, cut_middle, zero),
    *(duplicate, swap, swap_boxes, widen_number, splice),
)
NAMES = [
    *b"ftyp moov mvhd trak tkhd edts elst mdia mdhd hdlr minf dinf dref url  stbl stsd".split(),
    *b"avc1 avcC hev1 hvcC mp4a esds stts ctts stss stsc stsz stco mdat tx3g jpeg".split(),
    *b"RIFF AVI  LIST hdrl avih strl strh strf vids auds movi idx1 00dc 01wb".split(),
    *(b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b"),
    *(b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b", b"\x11\x4d\x9b\x74"),
]
NUMBERS = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    bytes(4),
    b"\0\0\0\1",
    b"\0\1\0\0",
)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [make_clip(recipe, folder) for recipe in RECIPES]


def test_the_clips_are_whole(clips: list[Path], run_all: RunAll) -> None:
    for clip, result in zip(clips, run_all(clips, "derain"), strict=True):
        assert len(result["times"]) == FRAMES, clip.name
        assert [w for w in result["warnings"] if "left out" not in w] == [], clip.name


def test_mutated_files_end_in_frames_counts_or_one_sentence(
    clips: list[Path], run_all: RunAll, tmp_path: Path
) -> None:
    first = int(os.environ.get("SAPNET_FIRST_MUTATION", "0"))
    contents = [clip.read_bytes() for clip in clips]
    files = []
    for seed in range(first, first + int(os.environ.get("SAPNET_MUTATIONS", "300"))):
        choose = random.Random(seed)
        number = seed % len(clips)
        files.append(tmp_path / f"{seed}-{clips[number].name}")
        files[-1].write_bytes(mutate(contents[number], choose.choice(contents), choose))
    results = run_all(files, "derain")
    wrong = {f.name: r for f, r in zip(files, results, strict=True) if not is_well(f, r)}
    assert not wrong
    whole = sum(len(result.get("times", [])) == FRAMES for result in results)
    assert 0 < whole < len(results), "the mutations damage all or nothing"


def is_well(path: Path, result: dict[str, Any]) -> bool:
    """Whether a file's frames are all there, or what is not was told."""
    if "error" in result:
        return "\n" not in result["error"]
    if "times" not in result:
        return False  # a traceback, or a crash
    times = result["times"]
    told = [warning for warning in result["warnings"] if TOLD.search(warning)]
    if len(times) >= FRAMES or told:
        return True
    if path.suffix in (".mp4", ".mov"):
        # A damaged time may lie outside the list of what is to be shown.
        with av.open(str(path)) as container:
            return FRAMES - len(times) <= sum(p.is_discard for p in container.demux(video=0))
    # A broadcast that was cut, and a Matroska file without its beginning and the index of it,
    # look like ones that were recorded so.
    contiguous = all(b - a < 1.5 * STEP_SECONDS for a, b in itertools.pairwise(times))
    return contiguous and path.suffix in (".ts", ".mkv", ".webm")


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    number=st.integers(0, len(RECIPES) - 1), other=st.integers(0, len(RECIPES) - 1), data=st.data()
)
def test_no_damage_is_a_traceback(
    clips: list[Path], tmp_path: Path, number: int, other: int, data: st.DataObject
) -> None:
    """Other damage in every run; in this process, so that a failure shrinks."""
    choose = data.draw(st.randoms(use_true_random=False))
    path = tmp_path / clips[number].name
    path.write_bytes(mutate(clips[number].read_bytes(), clips[other].read_bytes(), choose))
    try:
        with VideoDecoder(path) as decoder:
            times = [frame.pts for frame in decoder]
    except InputError:
        return
    assert times and all(a < b for a, b in itertools.pairwise(times))
