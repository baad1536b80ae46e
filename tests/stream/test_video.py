"""Files in, files out: every frame, its time and its samples, and all that travels beside it."""

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream.errors import OutputError

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Derain = Callable[..., Any]
MILLISECOND = Fraction(1, 1000)

FASTEST = {"libx264": "ultrafast", "libx265": "ultrafast", "libvpx-vp9": "8", "libsvtav1": "12"}
EFFORT = {"libvpx-vp9": "cpu-used"}
CONTAINERS = [
    ("mp4", "libx264"),
    ("mp4", "libx265"),
    ("mp4", "libsvtav1"),
    ("mov", "libx264"),
    ("mkv", "libx264"),
    ("mkv", "libx265"),
    ("mkv", "ffv1"),
    ("webm", "libvpx-vp9"),
    ("webm", "libsvtav1"),
]
TIMINGS: dict[str, tuple[list[int], Fraction, Fraction]] = {
    "constant": (list(range(10)), Fraction(1, 25), Fraction(25)),
    "variable": ([0, 1, 2, 5, 6, 9, 20, 21], Fraction(1, 100), Fraction(25)),
    "24000/1001": (list(range(10)), Fraction(1001, 24000), Fraction(24000, 1001)),
    "late start": (list(range(50, 58)), Fraction(1, 25), Fraction(25)),
    "1/90000": ([n * 3003 + n % 3 for n in range(8)], Fraction(1, 90000), Fraction(30000, 1001)),
}


def fastest(codec: str) -> dict[str, str]:
    return {EFFORT.get(codec, "preset"): FASTEST[codec]} if codec in FASTEST else {}


def milliseconds(time: Fraction) -> Fraction:
    """As Matroska stores it: rounded, halves away from zero."""
    return int(time * 1000 + Fraction(1, 2)) * MILLISECOND


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_every_frame_keeps_its_time(
    make_clip: Make,
    read_clip: Read,
    derain: Derain,
    tmp_path: Path,
    suffix: str,
    codec: str,
    timing: str,
) -> None:
    ticks, time_base, rate = TIMINGS[timing]
    source = make_clip(
        f"in.{suffix}",
        codec=codec,
        ticks=ticks,
        time_base=time_base,
        rate=rate,
        noise=False,
        options=fastest(codec),
    )
    preset = {"preset": FASTEST[codec]} if codec in FASTEST else {}
    report = derain(source, tmp_path / f"out.{suffix}", **preset)
    before, after = read_clip(source), read_clip(tmp_path / f"out.{suffix}")
    assert report.frames == len(before.times) == len(ticks)
    assert after.times == before.times
    assert after.tags["video"] == before.tags["video"]
    assert report.warnings == []
    if suffix in ("mp4", "mov"):
        assert after.times == [tick * time_base for tick in ticks]


@pytest.mark.parametrize("timing", TIMINGS)
def test_matroska_rounds_to_milliseconds_and_no_more(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path, timing: str
) -> None:
    ticks, time_base, rate = TIMINGS[timing]
    source = make_clip("in.nut", ticks=ticks, time_base=time_base, rate=rate)
    derain(source, tmp_path / "out.mkv")
    expected = [milliseconds(tick * time_base) for tick in ticks]
    assert read_clip(tmp_path / "out.mkv").times == expected


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_tags_chapters_and_rotation_are_carried(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path, suffix: str
) -> None:
    quarter_turn = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
    marks = [
        {
            "id": number,
            "start": number * 200,
            "end": number * 200 + 200,
            "time_base": MILLISECOND,
            "metadata": {"title": f"part {number}"},
        }
        for number in range(2)
    ]
    source = make_clip(
        f"in.{suffix}",
        "libx264",
        "yuv420p10le",
        noise=False,
        sample_aspect_ratio=Fraction(4, 3),
        colour=(9, 1, 9, 16),
        display_matrix=quarter_turn,
        metadata={"title": "Regen im März"},
        chapters=marks,
    )
    report = derain(source, tmp_path / f"out.{suffix}")
    before, after = read_clip(source).tags, read_clip(tmp_path / f"out.{suffix}").tags
    assert report.warnings == []
    for name in ("colour", "rotation", "aspect", "format", "size"):
        assert after[name] == before[name], name
    assert after["colour"] == (9, 1, 9, 16)
    assert after["aspect"] == Fraction(4, 3)
    assert abs(after["rotation"]) == 90
    assert after["metadata"]["title"] == "Regen im März"
    titles = [chapter["metadata"]["title"] for chapter in after["chapters"]]
    starts = [chapter["start"] * chapter["time_base"] for chapter in after["chapters"]]
    assert (titles, starts) == (["part 0", "part 1"], [0, Fraction(1, 5)])


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_another_reader_finds_the_same(
    make_clip: Make, derain: Derain, sound: Callable[..., Any], tmp_path: Path, suffix: str
) -> None:
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("compares by the ffprobe program")
    ticks, time_base, rate = TIMINGS["variable"]
    source = make_clip(
        f"in.{suffix}",
        "libx264",
        ticks=ticks,
        time_base=time_base,
        rate=rate,
        noise=False,
        sounds=[sound("aac", "deu")],
        colour=(1, 1, 1, 1),
    )
    derain(source, tmp_path / f"out.{suffix}")
    entries = (
        "frame=media_type,pts_time,color_space,color_range,color_primaries,color_transfer"
        ":stream=codec_name,width,height:stream_tags=language"
    )
    command = [program, "-v", "error", "-show_entries", entries, "-of", "compact"]
    before, after = (
        subprocess.run([*command, path], capture_output=True, text=True, check=True).stdout
        for path in (source, tmp_path / f"out.{suffix}")
    )
    # Sound and pictures of about the same time may lie in either order.
    assert sorted(after.splitlines()) == sorted(before.splitlines())
    assert after.count("media_type=video") == len(ticks)


# x265 has a least size; that of SVT-AV1 depends on its version.
NOT_SMALL = ("hevc",)


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1), (3, 2)])
@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "ffv1"])
def test_the_smallest_pictures_go_through_or_are_refused_before_work_starts(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path, size: Any, codec: str
) -> None:
    source = make_clip("in.nut", "rawvideo", "yuv444p", size, ticks=[0])
    target = tmp_path / "out.mkv"
    if codec in NOT_SMALL:
        with pytest.raises(OutputError, match=f"cannot encode {size[0]}x{size[1]}"):
            derain(source, target, codec=codec)
        assert [path.name for path in tmp_path.iterdir()] == ["in.nut"]
    else:
        derain(source, target, codec=codec)
        assert read_clip(target).tags["size"] == size
        assert len(read_clip(target).times) == 1


@pytest.mark.parametrize(("suffix", "tag"), [("mp4", "hvc1"), ("mov", "hvc1"), ("mkv", None)])
def test_hevc_is_tagged_as_apples_players_want_it(
    make_clip: Make, derain: Derain, tmp_path: Path, suffix: str, tag: str | None
) -> None:
    source = make_clip("in.mkv", "libx265", noise=False)
    derain(source, tmp_path / f"out.{suffix}")
    with av.open(str(tmp_path / f"out.{suffix}")) as container:
        (video,) = container.streams.video
        assert video.codec_context.name == "hevc"
        assert tag is None or video.codec_context.codec_tag == tag
