"""Whole files: depth, tags, light levels and transparency come out as they went in."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sapnet_stream.errors import InputError, OutputError, UsageError
from sapnet_stream.video.hdr import MasteringDisplay, StaticHdr, static_hdr
from sapnet_stream.video.stream_tag import tag_stream

Make = Callable[..., Path]
Derain = Callable[..., Any]
Probe = Callable[..., dict[str, Any]]

BT2020 = ("0.708", "0.292", "0.170", "0.797", "0.131", "0.046", "0.3127", "0.3290")
HDR = StaticHdr(
    MasteringDisplay(tuple(map(Fraction, BT2020)), (Fraction("0.005"), Fraction(1000))), (900, 300)
)
PQ, HLG = 16, 18
FRAMES = 3


@pytest.fixture
def make_hdr(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a lossless 10-bit file in BT.2020 with light levels."""

    def make(transfer: int) -> Path:
        path = tmp_path / "hdr.mkv"
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("ffv1")
            tag_stream(stream, "ffv1", HDR)
            context = stream.codec_context
            context.width, context.height, context.pix_fmt = 128, 96, "yuv420p10le"
            context.time_base, context.framerate = Fraction(1, 25), 25
            context.colorspace, context.color_range = 9, 1
            context.color_primaries, context.color_trc = 9, transfer
            for number in range(FRAMES):
                picture = av.VideoFrame(128, 96, "yuv420p10le")
                for plane in picture.planes:
                    ramp = np.arange(plane.buffer_size // 2) * 7 % 877 + 64 + number
                    plane.update(ramp.astype(np.uint16).tobytes())
                picture.pts, picture.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path

    return make


def first_picture(path: Path) -> av.VideoFrame:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


def light(found: dict[str, Any]) -> dict[str, Any]:
    """Side data of ffprobe's first stream and first frame, merged."""
    merged: dict[str, Any] = {}
    for holder in (found["streams"][0], found["frames"][0]):
        for entry in holder.get("side_data_list", []):
            merged |= entry
    return merged


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [
        ("mp4", "hevc", "yuv420p10le"),
        ("mp4", "av1", "yuv420p10le"),
        ("mp4", "h264", "yuv420p10le"),
        ("mov", "prores", "yuv422p10le"),
        ("mkv", "hevc", "yuv420p10le"),
        ("mkv", "ffv1", "yuv420p10le"),
        ("webm", "av1", "yuv420p10le"),
    ],
)
def test_hdr_stays_hdr(
    make_hdr: Make,
    derain: Derain,
    ffprobe: Probe,
    tmp_path: Path,
    suffix: str,
    codec: str,
    pixel_format: str,
    transfer: int,
) -> None:
    target = tmp_path / f"out.{suffix}"
    report = derain(make_hdr(transfer), target, amount=0.05, codec=codec)
    assert report.warnings == []
    picture = first_picture(target)
    assert picture.format.name == pixel_format
    tags = (picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc)
    assert tuple(map(int, tags)) == (9, 1, 9, transfer)
    assert static_hdr(picture).content_light == HDR.content_light

    found = ffprobe(target, "-show_streams", "-show_frames", "-read_intervals", "%+#1")
    (stream,) = found["streams"]
    names = {PQ: "smpte2084", HLG: "arib-std-b67"}
    assert (stream["color_transfer"], stream["color_primaries"]) == (names[transfer], "bt2020")
    said = light(found)
    assert (said["max_content"], said["max_average"]) == (900, 300)
    assert Fraction(said["max_luminance"]) == 1000
    assert abs(Fraction(said["green_y"]) - Fraction("0.797")) < 1e-4


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_is_exact_where_nothing_changes(
    make_hdr: Make, read_clip: Callable[[Path], Any], derain: Derain, tmp_path: Path, transfer: int
) -> None:
    source = make_hdr(transfer)
    derain(source, tmp_path / "out.mkv")
    before, after = read_clip(source), read_clip(tmp_path / "out.mkv")
    assert len(after.planes) == FRAMES
    for was, now in zip(before.planes, after.planes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(was, now, strict=True))


def test_the_bitstream_of_hevc_says_it_too(make_hdr: Make, derain: Derain, tmp_path: Path) -> None:
    derain(make_hdr(PQ), tmp_path / "out.nut", codec="hevc")
    assert static_hdr(first_picture(tmp_path / "out.nut")).content_light == (900, 300)


def test_what_a_container_cannot_say_is_told(
    make_hdr: Make, derain: Derain, tmp_path: Path
) -> None:
    report = derain(make_hdr(PQ), tmp_path / "out.nut", codec="ffv1")
    (warning,) = report.warnings
    assert "mastering display, content light level: .nut files with ffv1 cannot" in warning


def test_linear_light_is_refused(make_clip: Make, derain: Derain, tmp_path: Path) -> None:
    source = make_clip("in.mkv", "ffv1", "yuv420p10le", ticks=range(2), colour=(9, 1, 9, 8))
    with pytest.raises(InputError, match=r"linear light .* convert"):
        derain(source, tmp_path / "out.mkv")


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [("mov", "prores", "yuva444p12le"), ("mkv", "prores", "yuva444p12le"), ("mkv", "ffv1", "bgra")],
)
def test_transparency_is_kept(
    make_clip: Make, derain: Derain, tmp_path: Path, suffix: str, codec: str, pixel_format: str
) -> None:
    source = make_clip("in.mkv", "ffv1", "bgra", ticks=range(2))
    report = derain(source, tmp_path / f"out.{suffix}", amount=0.1, codec=codec)
    assert report.warnings == []
    before, after = first_picture(source), first_picture(tmp_path / f"out.{suffix}")
    assert after.format.name == pixel_format
    alphas = [p.to_ndarray(format="rgba")[..., 3].astype(int) for p in (before, after)]
    assert alphas[0].min() < 10 and np.abs(alphas[0] - alphas[1]).max() <= 1


def test_transparency_that_would_be_lost_is_refused(
    make_clip: Make, derain: Derain, tmp_path: Path
) -> None:
    source = make_clip("in.mkv", "ffv1", "yuva420p", ticks=range(2))
    with pytest.raises(OutputError, match=r"h264 cannot keep the transparency .* --pix-fmt"):
        derain(source, tmp_path / "out.mp4", codec="h264")
    derain(source, tmp_path / "out.mp4", codec="h264", pixel_format="yuv420p")
    assert first_picture(tmp_path / "out.mp4").format.name == "yuv420p"


def test_transparency_that_cannot_be_read_is_refused(
    make_clip: Make, derain: Derain, tmp_path: Path
) -> None:
    source = make_clip("in.webm", "libvpx-vp9", "yuva420p", noise=False, ticks=range(3))
    with pytest.raises(InputError, match=r"transparency of this vp9 video .* ProRes 4444"):
        derain(source, tmp_path / "out.mkv")


@pytest.mark.parametrize(
    ("pixel_format", "codec"),
    [
        ("yuv422p10le", "prores"),
        ("yuv444p10le", "hevc"),
        ("yuv422p12le", "hevc"),
        ("gray12le", "hevc"),
        ("gbrp10le", "hevc"),
        ("yuv422p", "vp9"),
        ("yuv440p", "vp9"),
        ("gbrp14le", "ffv1"),
        ("yuv411p", "ffv1"),
    ],
)
def test_depth_and_sampling_are_kept_where_the_codec_has_them(
    make_clip: Make, derain: Derain, tmp_path: Path, pixel_format: str, codec: str
) -> None:
    source = make_clip("in.mkv", "ffv1", pixel_format, ticks=range(3), noise=False)
    report = derain(source, tmp_path / "out.mkv", codec=codec)
    assert report.warnings == []
    assert first_picture(tmp_path / "out.mkv").format.name == pixel_format


@pytest.mark.parametrize("bits", ["", "10le"])
def test_gray_that_readers_show_as_more_is_no_error(
    make_clip: Make, derain: Derain, tmp_path: Path, bits: str
) -> None:
    source = make_clip("in.mkv", "ffv1", f"gray{bits}", ticks=range(3), noise=False)
    assert derain(source, tmp_path / "out.mkv", codec="h264").warnings == []
    shown = first_picture(tmp_path / "out.mkv").format.name
    assert shown in (f"gray{bits}", f"yuv420p{bits}")


def test_pixel_format_and_options_of_the_user_are_in_the_file(
    make_clip: Make, derain: Derain, ffprobe: Probe, tmp_path: Path
) -> None:
    source = make_clip("in.mkv", "ffv1", noise=False)
    options = {"profile": "high422", "g": "4", "bf": "0"}
    derain(source, tmp_path / "o.mp4", codec="h264", pixel_format="yuv422p", options=options)
    found = ffprobe(tmp_path / "o.mp4", "-show_streams", "-show_frames")
    (stream,) = found["streams"]
    assert (stream["pix_fmt"], stream["has_b_frames"]) == ("yuv422p", 0)
    keys = [n for n, frame in enumerate(found["frames"]) if frame["key_frame"]]
    assert keys == [0, 4, 8]
    with pytest.raises(UsageError, match="no option 'profil'"):
        derain(source, tmp_path / "p.mp4", codec="h264", options={"profil": "high"})
    assert not (tmp_path / "p.mp4").exists()
