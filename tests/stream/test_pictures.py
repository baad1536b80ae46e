"""Threads over frames: what comes out is what one thread gives, of whole and of damaged files."""

import gc
import os
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.logging
import pytest
from av.stream import Stream

from sapnet_stream.errors import InputError
from sapnet_stream.video import pictures
from sapnet_stream.video.complaints import attempt, complaint_count
from sapnet_stream.video.decode import NoFrameError, VideoDecoder
from sapnet_stream.video.demux import Demuxer, Packet
from sapnet_stream.video.hardware import HardwareDecoder
from sapnet_stream.video.span import WHOLE, Span
from tests.stream.hostile.test_mutation import mutate

Make = Callable[..., Path]

FRAMES = 30
# Name, encoder, options, and what else `make_clip` takes.
H264 = {"preset": "medium", "g": "10", "bf": "3"}
OPEN = {**H264, "x264-params": "open-gop=1:b-pyramid=normal"}
SLICES = {"preset": "medium", "g": "250", "bf": "4", "slices": "3"}
REFRESH = {"x264-params": "intra-refresh=1:cabac=0:slices=2:keyint=12"}
FIELDS = {**H264, "x264-params": "interlaced=1"}
HEVC = "log-level=none:pools=1:keyint=10:bframes=3"
UNEVEN = (*range(0, 40, 2), *range(43, 90, 5))
CLIPS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "h264.mp4": ("libx264", H264, {}),
    "open.ts": ("libx264", OPEN, {}),
    "slices.mkv": ("libx264", SLICES, {"size": (66, 50)}),
    "refresh.mkv": ("libx264", REFRESH, {}),
    "fields.mkv": ("libx264", FIELDS, {}),
    "raw.h264": ("libx264", H264, {}),
    "h264.avi": ("libx264", H264, {}),
    "uneven.mkv": ("libx264", H264, {"ticks": UNEVEN, "time_base": Fraction(1, 50)}),
    "ten.mp4": ("libx264", H264, {"pixel_format": "yuv422p10le"}),
    "hevc.mp4": ("libx265", {"x265-params": HEVC}, {}),
    "hevc.mkv": ("libx265", {"x265-params": f"{HEVC}:open-gop=1:keyint=250:wpp=0"}, {}),
    "vp9.webm": ("libvpx-vp9", {"g": "10", "cpu-used": "8", "lag-in-frames": "5"}, {}),
    "av1.mkv": ("libsvtav1", {"preset": "12", "svtav1-params": "lp=1"}, {"size": (64, 64)}),
    "mpeg4.avi": ("mpeg4", {"g": "10", "bf": "2"}, {}),
    "mpeg2.ts": ("mpeg2video", {"g": "10", "bf": "2"}, {}),
    "ffv1.mkv": ("ffv1", {}, {}),
    "prores.mov": ("prores_ks", {}, {"pixel_format": "yuv422p10le"}),
    "mjpeg.mov": ("mjpeg", {}, {"pixel_format": "yuvj420p", "size": (33, 17)}),
}
THREADED = [name for name, (codec, _, _) in CLIPS.items() if codec in ("libx264", "libx265")]


@dataclass
class Outcome:
    """What came of a file: a line for each frame, its samples, and what was said at the end."""

    lines: list[tuple[Any, ...]]
    samples: list[int]
    end: Any


@contextmanager
def threads(count: int, lag: int = 0) -> Iterator[None]:
    """Decoders opened here take so many threads over frames; pictures come out `lag` later."""
    one_by_one = pictures.Pictures._one_by_one

    def late(self: pictures.Pictures) -> Iterator[av.VideoFrame]:
        waiting: deque[av.VideoFrame] = deque()
        for picture in one_by_one(self):
            waiting.append(picture)
            if len(waiting) > lag:
                yield waiting.popleft()
        yield from waiting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "_thread_count", lambda: count)
        patch.setattr(pictures.Pictures, "_one_by_one", late)
        yield


def decode(path: Path, count: int, lag: int = 0, **settings: Any) -> Outcome:
    outcome = Outcome([], [], None)
    try:
        with threads(count, lag), VideoDecoder(path, **settings) as decoder:
            for frame in decoder:
                marks = (frame.pts, frame.duration, frame.keyframe, frame.interlaced)
                shapes = tuple(plane.shape for plane in frame.planes)
                outcome.lines.append((marks, shapes, frame.damaged, frame.retimed))
                samples = [plane.contiguous().numpy().tobytes() for plane in frame.planes]
                outcome.samples.append(hash(tuple(samples)))
            outcome.end = (decoder.info, decoder.damaged, decoder.decoded)
    except (InputError, NoFrameError) as error:
        outcome.end = str(error)
    return outcome


def difference(path: Path, count: int, **settings: Any) -> str | None:
    """What threads give that one does not."""
    one, many = decode(path, 1, **settings), decode(path, count, **settings)
    if (one.lines, one.end) != (many.lines, many.end):
        return f"{len(one.lines)} and {len(many.lines)} frames, {one.end}, {many.end}"
    pairs = zip(one.samples, many.samples, strict=True)
    differing = {number for number, (a, b) in enumerate(pairs) if a != b}
    # Rows that are lost without the decoder seeing it hold what was in that memory before. By
    # one thread, too, that depends on how long others hold the pictures before.
    reach = 1 if settings.pop("deinterlace", False) else 0
    usual = decode(path, 1, **settings).samples if differing else []
    for lag in (1, 2, 3, 4, 6, 8) if differing else ():
        held = decode(path, 1, lag, **settings).samples
        for number in [n for n, samples in enumerate(held) if samples != usual[n]]:
            differing -= set(range(number - reach, number + reach + 1))
    return f"samples of frames {sorted(differing)}" if differing else None


def make(make_clip: Make, name: str) -> Path:
    codec, options, more = CLIPS[name]
    settings = {"ticks": range(FRAMES), "noise": False, **more}
    return make_clip(name, codec, options=options, **settings)


@pytest.mark.parametrize("name", CLIPS)
def test_whole_files_are_decoded_alike(make_clip: Make, name: str) -> None:
    clip = make(make_clip, name)
    for settings in ({}, {"deinterlace": True}, {"span": Span(Fraction(2, 5), Fraction(4, 5))}):
        assert difference(clip, 3, **settings) is None, settings
    assert len(decode(clip, 3).lines) == FRAMES


def test_whole_files_are_read_once(make_clip: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    class Counted(Demuxer):
        def __init__(self, path: Path, hardware: HardwareDecoder | None = None) -> None:
            opened.append(path)
            super().__init__(path, hardware)

    monkeypatch.setattr(pictures, "Demuxer", Counted)
    for name in CLIPS:
        decode(make(make_clip, name), 3)
    assert [path.name for path in opened] == list(CLIPS)


def test_no_damage_makes_a_difference(make_clip: Make, tmp_path: Path) -> None:
    first = int(os.environ.get("SAPNET_FIRST_MUTATION", "0"))
    count = int(os.environ.get("SAPNET_MUTATIONS", "400"))
    clips = [make(make_clip, name) for name in THREADED]
    contents = [clip.read_bytes() for clip in clips]
    wrong = {}
    for seed in range(first, first + count):
        choose = random.Random(seed)
        number = seed % len(clips)
        path = tmp_path / f"damaged-{clips[number].name}"
        path.unlink(missing_ok=True)
        if choose.random() < 0.4:
            path.write_bytes(mutate(contents[number], choose.choice(contents), choose))
        else:
            damage_packets(clips[number], path, choose)
        begin = Fraction(choose.randrange(20), 25)
        found = difference(
            path,
            choose.choice((2, 3, 4, 8)),
            span=choose.choice((WHOLE, WHOLE, Span(begin), Span(begin, begin + 1))),
            careful=choose.random() < 0.5,
            deinterlace=choose.random() < 0.2,
            lead_seconds=choose.choice((0, Fraction(1, 5))),
        )
        if found:
            wrong[f"{seed} {path.name}"] = found
    assert not wrong


def test_the_second_reading_can_be_cancelled(make_clip: Make, tmp_path: Path) -> None:
    path, asked = tmp_path / "cut.h264", list[tuple[int, int]]()
    path.write_bytes(make(make_clip, "raw.h264").read_bytes()[:-200])

    def on_again(done: int, total: int) -> None:
        asked.append((done, total))

    def check() -> None:
        if len(asked) > 5:
            raise KeyError

    with (
        threads(4),
        VideoDecoder(path, on_again=on_again, check=check) as decoder,
        pytest.raises(KeyError),
    ):
        list(decoder)
    total = asked[0][1]
    assert total > 6 and asked == [(number, total) for number in range(1, 7)]


@pytest.mark.parametrize("lost", [True, False])
def test_a_demuxer_that_stumbles_is_told_of_at_the_same_frame(
    make_clip: Make, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    class Stumbling(Demuxer):
        def packets(
            self, streams: Sequence[Stream], end_seconds: Fraction | None = None
        ) -> Iterator[Packet]:
            for number, packet in enumerate(super().packets(streams, end_seconds)):
                if number == 20 and lost:
                    raise InputError("cannot be read on")
                self.damaged += number == 20
                yield packet

    clip = make(make_clip, "h264.mp4")
    monkeypatch.setattr(pictures, "Demuxer", Stumbling)
    assert difference(clip, 8) is None
    assert len(decode(clip, 8).lines) == (18 if lost else FRAMES)


@pytest.mark.parametrize("closed", [True, False])
def test_a_decoder_that_is_left_early_leaves_nothing_behind(
    make_clip: Make, capfd: pytest.CaptureFixture[str], closed: bool
) -> None:
    clip = make_clip("in.mp4", "libx264", size=(640, 360), options={"preset": "ultrafast"})
    data, choose = bytearray(clip.read_bytes()), random.Random(1)
    begin = data.index(b"mdat") + 2000
    for _ in range(400):
        data[choose.randrange(begin, data.index(b"moov"))] ^= 1 << choose.randrange(8)
    clip.write_bytes(data)
    capfd.readouterr()
    for _ in range(20):
        with threads(4):
            decoder = VideoDecoder(clip)
            if closed:
                decoder.close()
            del decoder
    gc.collect()
    assert av.logging.get_level() is None
    # PyAV prints what FFmpeg's threads say once nobody listens.
    assert capfd.readouterr().err == ""


def test_complaints_of_one_thread_do_not_silence_another() -> None:
    gc.collect()  # other tests' decoders that nobody closed

    def say() -> None:
        av.logging.log(av.logging.INFO, "h264", "concealing 12 errors")
        av.logging.log(av.logging.VERBOSE, "h264", "nothing of interest")
        av.logging.log(av.logging.ERROR, "aac", "no picture")

    with complaint_count("h264") as count:

        def opening() -> None:
            av.logging.log(av.logging.WARNING, "h264", "of this thread")
            for expected in (1, 2):
                thread = threading.Thread(target=say)
                thread.start()
                thread.join()
                assert count() == expected  # the same line again is news

        assert attempt(opening) == (None, ["of this thread"])
        with complaint_count("h264") as later:
            say()
            assert (count(), later()) == (3, 1)
    assert av.logging.get_level() is None


def damage_packets(clip: Path, target: Path, choose: random.Random) -> None:
    """The clip with one to three of its packets lost or other than they were."""
    with av.open(str(clip)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        packets = [packet for packet in old.demux(video=0) if packet.size]
        hit = choose.sample(range(len(packets)), choose.choice((1, 1, 2, 3)))
        kind = choose.choice(("lost", "bits", "head", "cut", "zeros", "another"))
        for number, packet in enumerate(packets):
            data = bytearray(bytes(packet))
            if number in hit:
                begin = choose.randrange(len(data))
                if kind == "lost":
                    continue
                if kind == "bits":
                    for _ in range(choose.choice((1, 3, 10))):
                        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
                if kind == "head":
                    data[choose.randrange(min(40, len(data)))] ^= 1 << choose.randrange(8)
                if kind == "cut":
                    del data[begin + 1 :]
                if kind == "zeros":
                    end = choose.randrange(begin, len(data)) + 1
                    data[begin:end] = bytes(end - begin)
                if kind == "another":
                    data = bytearray(bytes(choose.choice(packets)))
            other: Any = av.Packet(bytes(data))
            other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
            other.time_base, other.is_keyframe = packet.time_base, packet.is_keyframe
            other.stream = stream
            with suppress(av.error.FFmpegError):  # a cut packet that no writer takes
                new.mux_one(other)
