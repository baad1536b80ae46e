"""A finished file is read back and compared with what was planned."""

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream.errors import OutputError
from sapnet_stream.video.codec import EncoderPlan
from sapnet_stream.video.hdr import StaticHdr
from sapnet_stream.video.info import VideoInfo, video_info
from sapnet_stream.video.verify import verify_written

Make = Callable[..., Path]
Derain = Callable[..., Any]
PLAN = EncoderPlan("h264", "libx264", {}, "yuv420p", 9, 1)
QUARTER_TURN = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)


@pytest.fixture
def written(make_clip: Make) -> tuple[Path, VideoInfo]:
    """A file that says much of itself, and what it says."""
    path = make_clip(
        "out.mp4",
        "libx264",
        noise=False,
        ticks=range(2),
        colour=(9, 1, 9, 16),
        sample_aspect_ratio=Fraction(4, 3),
        display_matrix=QUARTER_TURN,
    )
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
        return path, video_info(picture, container.streams.video[0], None)


def test_a_file_as_planned_is_nothing_to_speak_of(written: tuple[Path, VideoInfo]) -> None:
    path, info = written
    assert verify_written(path, PLAN, info) == []


@pytest.mark.parametrize(
    ("plan", "info", "named"),
    [
        ({"matrix": 1}, {}, "colour matrix"),
        ({"color_range": 2}, {}, "colour range"),
        ({}, {"primaries": 1}, "colour primaries"),
        ({}, {"transfer": 18}, "transfer"),
        ({}, {"sample_aspect_ratio": Fraction(2)}, "sample aspect ratio"),
        ({}, {"display_matrix": None}, "rotation"),
        ({}, {"interlaced": True}, "interlacing"),
        ({}, {"hdr": StaticHdr(None, (1000, 400))}, "content light level"),
        ({}, {"captions": True}, "closed captions"),
        ({}, {"dynamic_hdr": ("HDR10+",)}, r"HDR10\+"),
        ({"matrix": 1}, {"primaries": 1}, "colour matrix, colour primaries"),
    ],
)
def test_a_tag_that_was_not_held_is_named(
    written: tuple[Path, VideoInfo], plan: dict[str, Any], info: dict[str, Any], named: str
) -> None:
    path, read = written
    (warning,) = verify_written(path, replace(PLAN, **plan), replace(read, **info))
    assert re.search(f"does not say the source's {named}: .mp4 files with h264 cannot", warning)


@pytest.mark.parametrize(
    "unsaid", [{"primaries": 2, "transfer": 2}, {"sample_aspect_ratio": Fraction(4, 3)}]
)
def test_what_the_source_leaves_open_is_not_missed(
    written: tuple[Path, VideoInfo], unsaid: dict[str, Any]
) -> None:
    path, info = written
    assert verify_written(path, replace(PLAN, matrix=2), replace(info, **unsaid)) == []


@pytest.mark.parametrize(
    ("plan", "info", "reason"),
    [
        ({"codec": "hevc"}, {}, "has codec h264, not hevc"),
        ({"pixel_format": "yuv422p"}, {}, "has pixel format yuv420p, not yuv422p"),
        ({"pixel_format": "yuv420p10le"}, {}, "has pixel format yuv420p, not yuv420p10le"),
        ({}, {"width": 66}, "has width 64, not 66"),
        ({}, {"height": 50}, "has height 48, not 50"),
    ],
)
def test_another_picture_than_planned_is_an_error(
    written: tuple[Path, VideoInfo], plan: dict[str, Any], info: dict[str, Any], reason: str
) -> None:
    path, read = written
    with pytest.raises(OutputError, match=reason):
        verify_written(path, replace(PLAN, **plan), replace(read, **info))


def test_a_file_that_cannot_be_read_back_is_an_error(
    written: tuple[Path, VideoInfo], tmp_path: Path
) -> None:
    (tmp_path / "cut.mp4").write_bytes(written[0].read_bytes()[:200])
    with pytest.raises(OutputError, match="cannot be read back"):
        verify_written(tmp_path / "cut.mp4", PLAN, written[1])


@pytest.mark.parametrize("pixel_format", ["yuv422p10le", "yuv444p10le", "yuva444p10le"])
def test_prores_may_be_read_with_more_bits(make_clip: Make, pixel_format: str) -> None:
    path = make_clip("out.mov", "prores_ks", pixel_format, noise=False, ticks=range(2))
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
        info = video_info(picture, container.streams.video[0], None)
    plan = EncoderPlan("prores", "prores_ks", {}, pixel_format, 2, 0)
    assert verify_written(path, plan, info) == []


def test_the_shape_of_samples_is_kept_by_the_container_or_its_loss_is_told(
    make_clip: Make, derain: Derain, tmp_path: Path
) -> None:
    shape = Fraction(4, 3)
    source = make_clip("in.mp4", "libx264", noise=False, sample_aspect_ratio=shape)
    assert derain(source, tmp_path / "out.mp4", codec="av1").warnings == []
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == shape
    (warning,) = derain(source, tmp_path / "out.webm", codec="vp9").warnings
    assert "sample aspect ratio" in warning
    # MP4 says it in the container alone, and it is read from there.
    derain(tmp_path / "out.mp4", tmp_path / "again.mkv", codec="h264")
    with av.open(str(tmp_path / "again.mkv")) as container:
        assert container.streams.video[0].sample_aspect_ratio == shape
