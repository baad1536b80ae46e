"""Samples through the corridor: no bit changes where nothing was derained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sapnet_stream.errors import InputError
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.frame import PLANAR_TWINS, pixel_layout, planar_name
from sapnet_stream.video.picture import read_planes, write_planes

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Derain = Callable[..., Any]

FASTEST_OF = {"av1": "12", "vp9": "8"}


@pytest.mark.parametrize("size", [(64, 48), (33, 17), (1, 1), (9, 1)])
@pytest.mark.parametrize(
    "pixel_format",
    [
        "yuv420p",
        "yuv422p",
        "yuv444p",
        "yuv440p",
        "yuv411p",
        "yuv410p",
        "gray",
        "yuv420p9le",
        "yuv420p10le",
        "yuv422p12le",
        "yuv444p14le",
        "yuv420p16le",
        "gray10le",
        "gray12le",
        "gray16le",
        "gbrp10le",
        "gbrp12le",
        "gbrp14le",
        "gbrp16le",
        "yuva420p",
        "yuva422p10le",
        "yuva444p12le",
        "gbrap10le",
    ],
)
def test_nothing_changes_through_a_lossless_codec(
    make_clip: Make,
    read_clip: Read,
    derain: Derain,
    tmp_path: Path,
    pixel_format: str,
    size: tuple[int, int],
) -> None:
    source = make_clip("in.mkv", "ffv1", pixel_format, size, range(3))
    derain(source, tmp_path / "out.mkv")
    before, after = read_clip(source), read_clip(tmp_path / "out.mkv")
    assert after.tags["format"] == before.tags["format"] == pixel_format
    assert len(after.planes) == 3
    for was, now in zip(before.planes, after.planes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(was, now, strict=True))


@pytest.mark.parametrize("codec", ["ffv1", "h264"])
def test_samples_stay_while_the_decoder_goes_on(make_clip: Make, codec: str) -> None:
    source = make_clip("in.mkv", codec, "yuv420p", (64, 48), range(12))
    with av.open(str(source)) as container:
        pictures = container.decode(video=0)
        first = next(pictures)
        planes = read_planes(first, pixel_layout("yuv420p"))
        kept = [plane.clone() for plane in planes]

        class Late(tuple[Any, ...]):
            """Planes that are asked for after the decoder has filled its memory again."""

            def __iter__(self) -> Any:
                list(pictures)
                return super().__iter__()

        painted = write_planes(Late(planes), pixel_layout("yuv420p"), first)
    assert all(map(np.array_equal, planes, kept))
    assert all(map(np.array_equal, read_planes(painted, pixel_layout("yuv420p")), kept))


PACKED: dict[str, Callable[[list[Any]], tuple[Any, ...]]] = {
    "nv12": lambda p: (p[0], p[1][:, ::2], p[1][:, 1::2]),
    "nv21": lambda p: (p[0], p[1][:, 1::2], p[1][:, ::2]),
    "nv16": lambda p: (p[0], p[1][:, ::2], p[1][:, 1::2]),
    "p010le": lambda p: (p[0] >> 6, p[1][:, ::2] >> 6, p[1][:, 1::2] >> 6),
    "yuyv422": lambda p: (p[0][:, ::2], p[0][:, 1::4], p[0][:, 3::4]),
    "uyvy422": lambda p: (p[0][:, 1::2], p[0][:, ::4], p[0][:, 2::4]),
    "rgb24": lambda p: (p[0][:, 1::3], p[0][:, 2::3], p[0][:, ::3]),
    "bgr24": lambda p: (p[0][:, 1::3], p[0][:, ::3], p[0][:, 2::3]),
    "bgr0": lambda p: (p[0][:, 1::4], p[0][:, ::4], p[0][:, 2::4]),
}


@pytest.mark.parametrize("pixel_format", PACKED)
def test_packed_samples_arrive_unchanged(make_picture: Any, pixel_format: str) -> None:
    picture = make_picture(64, 48, pixel_format, 5)
    kind = np.uint16 if pixel_format.startswith("p0") else np.uint8
    rows = [np.frombuffer(memoryview(p), kind).reshape(p.height, -1) for p in picture.planes]
    planes = read_planes(picture, pixel_layout(planar_name(pixel_format)))
    for plane, samples in zip(planes, PACKED[pixel_format](rows), strict=True):
        assert np.array_equal(plane.numpy(), samples)


@pytest.mark.parametrize("pixel_format", sorted(PLANAR_TWINS))
def test_repacking_loses_nothing(make_picture: Any, pixel_format: str) -> None:
    packed = make_picture(32, 16, pixel_format, 5)
    planar = packed.reformat(format=planar_name(pixel_format))
    # Once more, for packed formats may have bits that mean nothing.
    again = planar.reformat(format=pixel_format).reformat(format=planar.format.name)
    for one, other in zip(planar.planes, again.planes, strict=True):
        assert bytes(one) == bytes(other)


@pytest.mark.parametrize(
    ("suffix", "pixel_format"),
    [("nut", "nv12"), ("mkv", "yuyv422"), ("avi", "uyvy422"), ("nut", "rgb24"), ("avi", "bgr24")],
)
def test_packed_files_come_out_lossless(
    make_clip: Make,
    derain: Derain,
    tmp_path: Path,
    suffix: str,
    pixel_format: str,
) -> None:
    source = make_clip(f"in.{suffix}", "rawvideo", pixel_format, (34, 18), range(3))
    derain(source, tmp_path / "out.mkv", codec="ffv1")
    with av.open(str(source)) as one, av.open(str(tmp_path / "out.mkv")) as two:
        for was, now in zip(one.decode(video=0), two.decode(video=0), strict=True):
            planar = was.reformat(format=planar_name(pixel_format))
            assert planar.format.bits_per_pixel <= now.format.bits_per_pixel
            back = now.reformat(format=planar.format.name)
            for a, b in zip(planar.planes, back.planes, strict=True):
                cut = [np.frombuffer(memoryview(x), np.uint8).reshape(x.height, -1) for x in (a, b)]
                assert np.array_equal(cut[0][:, : a.width], cut[1][:, : a.width])


@pytest.mark.parametrize("codec", ["av1", "vp9"])
def test_gray_keeps_its_luma_where_the_codec_needs_chroma(
    make_clip: Make, read_clip: Read, tmp_path: Path, codec: str, derain: Derain
) -> None:
    source = make_clip("in.mkv", "ffv1", "gray", noise=False, ticks=range(3))
    derain(source, tmp_path / "out.mkv", codec=codec, crf=2, preset=FASTEST_OF[codec])
    before, after = read_clip(source), read_clip(tmp_path / "out.mkv")
    assert after.tags["format"] == "yuv420p"
    assert np.abs(before.planes[0][0].astype(int) - after.planes[0][0]).mean() < 3


def test_rgb_keeps_its_colours_where_the_codec_has_none(
    make_clip: Make, tmp_path: Path, derain: Derain
) -> None:
    source = make_clip("in.nut", "rawvideo", "rgb24", noise=False, ticks=range(3))
    derain(source, tmp_path / "out.mp4", codec="h264", crf=1)
    with av.open(str(source)) as one, av.open(str(tmp_path / "out.mp4")) as two:
        was, now = next(one.decode(video=0)), next(two.decode(video=0))
        assert (int(now.colorspace), int(now.color_range)) == (6, 1)
        difference = was.to_ndarray().astype(int) - now.to_ndarray(format="rgb24")
    assert np.abs(difference).mean() < 3


def test_upside_down_planes_are_refused(make_clip: Make, tmp_path: Path) -> None:
    source = make_clip("in.nut", "rawvideo", ticks=range(2))
    with av.open(str(source)) as old, av.open(str(tmp_path / "up.nut"), "w") as new:
        video: Any = new.add_stream("rawvideo", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.extradata = b"BottomUp\0"
        for packet in list(old.demux()):
            if packet.size:
                packet.stream = video
                new.mux(packet)
    with pytest.raises(InputError, match="upside down"), VideoDecoder(tmp_path / "up.nut"):
        pass
