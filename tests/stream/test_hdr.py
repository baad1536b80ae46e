"""Mastering display and light levels: read from files, written into files, said by ffprobe."""

import json
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream.video.hdr import MasteringDisplay, StaticHdr, static_hdr
from sapnet_stream.video.stream_tag import tag_stream

BT2020 = ("0.708", "0.292", "0.170", "0.797", "0.131", "0.046", "0.3127", "0.3290")
DISPLAY = MasteringDisplay(tuple(map(Fraction, BT2020)), (Fraction("0.005"), Fraction(1000)))
HDR = StaticHdr(DISPLAY, (900, 300))
TAGGED = [
    ("mp4", "libx264", "yuv420p10le"),
    ("mp4", "libx265", "yuv420p10le"),
    ("mp4", "libvpx-vp9", "yuv420p"),
    ("mp4", "libsvtav1", "yuv420p10le"),
    ("mov", "prores_ks", "yuv422p10le"),
    ("mkv", "ffv1", "yuv420p10le"),
    ("mkv", "prores_ks", "yuva444p10le"),
    ("mkv", "libx265", "yuv420p10le"),
    ("webm", "libvpx-vp9", "yuv420p"),
]


def write_tagged(path: Path, encoder: str, pixel_format: str, hdr: StaticHdr) -> None:
    codec = av.codec.Codec(encoder, "w").canonical_name
    with av.open(str(path), "w") as container:
        options = {"x265-params": "log-level=error"} if encoder == "libx265" else {}
        stream: Any = container.add_stream(encoder, options=options)
        tag_stream(stream, codec, hdr)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = 64, 64, pixel_format
        context.time_base, context.framerate = Fraction(1, 25), 25
        context.colorspace, context.color_range = 9, 1
        context.color_primaries, context.color_trc = 9, 16
        for number in range(3):
            picture = av.VideoFrame(64, 64, pixel_format)
            for plane in picture.planes:
                plane.update(bytes(plane.buffer_size))
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def first_picture(path: Path) -> av.VideoFrame:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


def near(one: StaticHdr, other: StaticHdr) -> bool:
    """Equal within the steps of 1/50,000 and 1/10,000 that files store."""
    assert one.mastering is not None and other.mastering is not None
    pairs = zip(
        (*one.mastering.primaries, *one.mastering.luminance),
        (*other.mastering.primaries, *other.mastering.luminance),
        strict=True,
    )
    return all(abs(a - b) <= 1e-4 for a, b in pairs) and one.content_light == other.content_light


@pytest.mark.parametrize(("suffix", "encoder", "pixel_format"), TAGGED)
def test_a_container_says_what_the_stream_was_tagged_with(
    tmp_path: Path, suffix: str, encoder: str, pixel_format: str
) -> None:
    path = tmp_path / f"tagged.{suffix}"
    write_tagged(path, encoder, pixel_format, HDR)
    picture = first_picture(path)
    assert (picture.width, picture.height) == (64, 64)
    assert near(static_hdr(picture), HDR)


@pytest.mark.parametrize(("suffix", "encoder", "pixel_format"), TAGGED)
def test_another_reader_finds_it(
    tmp_path: Path, suffix: str, encoder: str, pixel_format: str
) -> None:
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("compares by the ffprobe program")
    path = tmp_path / f"tagged.{suffix}"
    write_tagged(path, encoder, pixel_format, HDR)
    command = [program, "-v", "error", "-show_streams", "-of", "json", str(path)]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    (stream,) = json.loads(output)["streams"]
    found: dict[str, Any] = {}
    for entry in stream["side_data_list"]:
        found |= entry
    assert (found["max_content"], found["max_average"]) == (900, 300)
    assert Fraction(found["max_luminance"]) == 1000
    assert abs(Fraction(found["green_y"]) - DISPLAY.primaries[3]) < 1e-4
    assert abs(Fraction(found["min_luminance"]) - DISPLAY.luminance[0]) < 1e-6


@pytest.mark.parametrize("hdr", [StaticHdr(DISPLAY), StaticHdr(None, (900, 300))])
def test_one_can_come_without_the_other(tmp_path: Path, hdr: StaticHdr) -> None:
    write_tagged(tmp_path / "half.mkv", "ffv1", "yuv420p10le", hdr)
    read = static_hdr(first_picture(tmp_path / "half.mkv"))
    assert (read.mastering is None) == (hdr.mastering is None)
    assert read.content_light == hdr.content_light


def test_nothing_is_said_of_a_file_without(make_clip: Callable[..., Path]) -> None:
    assert not static_hdr(first_picture(make_clip()))


@pytest.mark.parametrize(
    ("encoder", "option", "params"),
    [
        ("libx265", "x265-params", "log-level=error:" + HDR.x265_params()),
        ("libsvtav1", "svtav1-params", HDR.svtav1_params()),
    ],
)
def test_bitstreams_say_it_too(
    make_clip: Callable[..., Path], encoder: str, option: str, params: str
) -> None:
    path = make_clip(
        # NUT itself has no place for it.
        "in.nut",
        encoder,
        "yuv420p10le",
        (128, 96),
        range(2),
        noise=False,
        colour=(9, 1, 9, 16),
        options={option: params},
    )
    assert near(static_hdr(first_picture(path)), HDR)
