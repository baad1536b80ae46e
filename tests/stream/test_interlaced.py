"""Interlaced files: fields stay fields and captions stay with them, or become whole pictures."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.span import Span

Derain = Callable[..., Any]
Probe = Callable[..., dict[str, Any]]
TICK = Fraction(1, 25)
INTERLACED = {"flags": "+ildct+ilme"}
FRAMES = 6


def caption(number: int) -> bytes:
    """ATSC A/53 part 4: one pair of CEA-608 bytes."""
    return b"\xb5\x001GA94\x03\x41\xff\xfc" + bytes([0x80 | 0x41 + number, 0xC2, 0xFF])


def with_caption(unit: bytes, number: int) -> bytes:
    """An H.264 access unit with a message (SEI) before its first slice."""
    payload = caption(number)
    message = b"\0\0\0\1\x06\x04" + bytes([len(payload)]) + payload + b"\x80"
    starts = [n for n in range(len(unit) - 3) if unit[n : n + 3] == b"\0\0\1"]
    first = next(n for n in starts if unit[n + 3] & 31 in (1, 5))
    return unit[:first] + message[1:] + unit[first:]


@pytest.fixture
def make_interlaced(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a file whose frames are two fields, the moving bar in each."""

    def make(name: str, encoder: str, pixel_format: str, order: str, captions: bool) -> Path:
        path = tmp_path / name
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=64, height=48, format=av.VideoFormat(pixel_format), time_base=TICK
        )
        flags, sink = graph.add("setfield", order), graph.add("buffersink")
        source.link_to(flags)
        flags.link_to(sink)
        graph.configure()
        options = INTERLACED if encoder in ("libx264", "prores_ks") else {}
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(encoder, rate=25, options=options)
            context = stream.codec_context
            context.width, context.height, context.pix_fmt = 64, 48, pixel_format
            context.time_base = TICK
            context.field_order = {"tff": 2, "bff": 3}[order]
            packets = []
            for number in range(FRAMES):
                luma = np.full((48, 64), 40, np.uint8)
                for first in (0, 1):
                    luma[first::2, 6 * number + 3 * first :][:, :12] = 200
                picture = av.VideoFrame.from_ndarray(luma, "gray").reformat(format=pixel_format)
                picture.pts, picture.time_base = number, TICK
                graph.push(picture)
                flagged: Any = graph.pull()
                packets += stream.encode(flagged)
            for packet in [*packets, *stream.encode(None)]:
                copy: Any = packet
                if captions:
                    copy = av.Packet(with_caption(bytes(packet), packet.pts))
                    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                    copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                container.mux(copy)
        return path

    return make


def pictures(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def captions(path: Path) -> list[bytes]:
    found = []
    for picture in pictures(path):
        side_data: Any = picture.side_data
        if "A53_CC" in side_data:
            found.append(bytes(side_data["A53_CC"]))
    return found


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize(
    ("suffix", "encoder", "pixel_format"),
    [
        ("mp4", "libx264", "yuv420p"),
        ("mkv", "libx264", "yuv422p10le"),
        ("mov", "libx264", "yuv420p"),
        ("mov", "prores_ks", "yuv422p10le"),
        ("mkv", "ffv1", "yuv420p"),
    ],
)
def test_fields_stay_fields_in_their_order(
    make_interlaced: Callable[..., Path],
    derain: Derain,
    ffprobe: Probe,
    tmp_path: Path,
    suffix: str,
    encoder: str,
    pixel_format: str,
    order: str,
) -> None:
    source = make_interlaced(f"in.{suffix}", encoder, pixel_format, order, False)
    report = derain(source, tmp_path / f"out.{suffix}", options={"threads": "1"})
    assert [warning for warning in report.warnings if "is interlaced" not in warning] == []
    before, after = (
        ffprobe(path, "-show_frames", "-show_streams")
        for path in (source, tmp_path / f"out.{suffix}")
    )
    flags = [
        [(frame["interlaced_frame"], frame["top_field_first"]) for frame in found["frames"]]
        for found in (before, after)
    ]
    assert flags[0] == [(1, int(order == "tff"))] * FRAMES
    assert flags[1] == flags[0]
    # "tb" and "bt" are fields stored apart in time, "tt" and "bb" as they come.
    orders = [found["streams"][0]["field_order"] for found in (before, after)]
    assert orders[1] == orders[0]


@pytest.mark.parametrize(
    ("codec", "pixel_format"), [("h264", None), ("hevc", None), ("h264", "yuv422p10le")]
)
def test_captions_in_the_pictures_are_kept(
    make_interlaced: Callable[..., Path],
    derain: Derain,
    tmp_path: Path,
    codec: str,
    pixel_format: str | None,
) -> None:
    source = make_interlaced("in.nut", "libx264", "yuv420p", "tff", True)
    derain(source, tmp_path / "out.mkv", codec=codec, amount=0.1, pixel_format=pixel_format)
    before, after = (captions(path) for path in (source, tmp_path / "out.mkv"))
    assert len(set(before)) == FRAMES
    assert after == before
    if codec == "h264":
        assert all(picture.interlaced_frame for picture in pictures(tmp_path / "out.mkv"))


def test_a_codec_without_fields_is_named(
    make_interlaced: Callable[..., Path], derain: Derain, tmp_path: Path
) -> None:
    source = make_interlaced("in.nut", "libx264", "yuv420p", "tff", True)
    report = derain(source, tmp_path / "out.mkv", codec="vp9")
    first, second = report.warnings
    assert "stay fields; --deinterlace" in first
    assert "the source's interlacing, closed captions: .mkv files with vp9" in second


@pytest.mark.parametrize("seconds", [5.0, 0.1])
def test_deinterlacing_keeps_every_frame_and_its_time(
    make_interlaced: Callable[..., Path], derain: Derain, tmp_path: Path, seconds: float
) -> None:
    source = make_interlaced("in.mkv", "ffv1", "yuv420p", "tff", False)
    report = derain(source, tmp_path / "out.mkv", deinterlace=True, part_seconds=seconds)
    assert report.warnings == []
    before, after = pictures(source), pictures(tmp_path / "out.mkv")
    assert [picture.time for picture in after] == [picture.time for picture in before]
    assert not any(picture.interlaced_frame for picture in after)
    combed, whole = (np.asarray(p[3].to_ndarray(format="gray"), int) for p in (before, after))
    for luma, least, most in ((combed, 20, 255), (whole, 0, 8)):
        assert least <= np.abs(2 * luma[1:-1] - luma[:-2] - luma[2:]).mean() <= most


def test_deinterlaced_parts_are_those_of_the_whole(
    make_interlaced: Callable[..., Path], derain: Derain, tmp_path: Path
) -> None:
    source = make_interlaced("in.mkv", "ffv1", "yuv420p", "tff", False)
    derain(source, tmp_path / "whole.mkv", deinterlace=True)
    derain(source, tmp_path / "cut.mkv", deinterlace=True, start_seconds=0.08, duration_seconds=0.1)
    whole, cut = (pictures(tmp_path / f"{name}.mkv") for name in ("whole", "cut"))
    assert len(cut) == 3
    for picture, expected in zip(cut, whole[2:], strict=False):
        assert np.array_equal(picture.to_ndarray(), expected.to_ndarray())


def test_a_part_that_begins_at_a_keyframe_is_deinterlaced_with_the_frame_before(
    make_clip: Callable[..., Path],
) -> None:
    options = {"g": "60", "sc_threshold": "0", "bf": "0", "x264-params": "interlaced=1"}
    source = make_clip("in.ts", "libx264", ticks=range(70), options=options)
    with VideoDecoder(source, deinterlace=True) as decoder:
        whole = list(decoder)[60]
    with VideoDecoder(source, Span(whole.pts * whole.time_base), deinterlace=True) as decoder:
        part = next(iter(decoder))
    assert part.pts == whole.pts
    assert all(a.equal(b) for a, b in zip(part.planes, whole.planes, strict=True))


@pytest.fixture
def make_mixed(make_interlaced: Callable[..., Path], tmp_path: Path) -> Callable[[int], Path]:
    """A function that writes H.264 of so many whole pictures, then as many as are interlaced."""

    def make(progressive: int) -> Path:
        fields = make_interlaced("fields.h264", "libx264", "yuv420p", "tff", False).read_bytes()
        path = tmp_path / "in.h264"
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for _ in range(progressive):
                container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
            container.mux(stream.encode(None))
        path.write_bytes(path.read_bytes() + fields)
        return path

    return make


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_fields_behind_whole_pictures_stay_fields(
    make_mixed: Callable[[int], Path], derain: Derain, tmp_path: Path, codec: str
) -> None:
    source, target = make_mixed(10), tmp_path / "out.mkv"
    (warning,) = derain(source, target, codec=codec, options={"threads": "1"}).warnings
    assert "is interlaced" in warning
    assert [picture.interlaced_frame for picture in pictures(source)] == [0] * 10 + [1] * FRAMES
    flags = [picture.interlaced_frame for picture in pictures(target)]
    assert flags[10:] == [1] * FRAMES
    # x264 knows one way for all.
    assert codec == "h264" or flags[:10] == [0] * 10


@pytest.mark.parametrize("seconds", [5.0, 0.4])
def test_fields_that_come_too_late_to_stay_fields_are_told(
    make_mixed: Callable[[int], Path], derain: Derain, tmp_path: Path, seconds: float
) -> None:
    source, target = make_mixed(40), tmp_path / "out.mkv"
    (warning,) = derain(source, target, part_seconds=seconds).warnings
    assert f"{FRAMES} frames of {source} are interlaced" in warning and "--deinterlace" in warning
    assert derain(source, target, overwrite=True, deinterlace=True).warnings == []
    (warning,) = derain(source, target, overwrite=True, codec="ffv1").warnings
    assert "stay fields" in warning


def test_a_comparison_is_not_called_fields(
    make_interlaced: Callable[..., Path], derain: Derain, tmp_path: Path
) -> None:
    source, target = (
        make_interlaced("in.mkv", "libx264", "yuv420p", "tff", False),
        tmp_path / "out.mkv",
    )
    (warning,) = derain(source, target, compare="side").warnings
    assert "a comparison is written as whole pictures" in warning and "--deinterlace" in warning
    assert not any(picture.interlaced_frame for picture in pictures(target))
    assert derain(source, target, overwrite=True, compare="side", deinterlace=True).warnings == []
