"""Frames that are lost are missed; times that merely vary are not."""

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sapnet_stream.video.gaps import skipped_frames

Make = Callable[..., Path]
Derain = Callable[..., Any]


@given(
    kept=st.sets(st.integers(0, 199), min_size=1),
    step=st.sampled_from([Fraction(1), Fraction(40), Fraction(1001, 30), Fraction(512)]),
    first=st.integers(-(10**9), 10**9),
)
def test_every_frame_that_is_taken_away_is_missed(
    kept: set[int], step: Fraction, first: int
) -> None:
    # Most are there, as in a video that is worth the trouble.
    numbers = sorted(kept | set(range(0, 200, 3)) | set(range(1, 200, 3)))
    pts = np.array([round(first + n * step) for n in numbers], np.int64)
    begin, end = Fraction(first), first + 200 * step
    assert skipped_frames(pts, step, begin, end) == 200 - len(numbers)


@pytest.mark.parametrize(
    "pts",
    [
        [0, 1, 2, 5, 6, 9, 20, 21],  # as in a recording of a screen
        [0, 7, 40, 44, 90, 91, 130, 170, 171, 200, 260, 300],
        [n * 80 for n in range(20)],  # half the rate that the header says
        [n * 2400 for n in range(20)],  # a header without any sense
    ],
)
def test_a_variable_rate_skips_nothing(pts: list[int]) -> None:
    assert skipped_frames(np.array(pts, np.int64), Fraction(40)) == 0


def test_one_frame_is_judged_by_what_the_file_says() -> None:
    (pts,) = np.array([[400]], np.int64)
    assert skipped_frames(pts, Fraction(40)) == 0
    assert skipped_frames(pts, Fraction(40), Fraction(0), Fraction(480)) == 11


def test_a_cut_matroska_file_is_told(make_clip: Make, derain: Derain, tmp_path: Path) -> None:
    clip = make_clip("in.mkv", "libx264", ticks=range(100), noise=False, options={"g": "5"})
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    report = derain(clip, tmp_path / "out.mkv")
    (warning,) = report.warnings
    assert 0 < report.frames < 100
    assert f"about {100 - report.frames} frames" in warning


def test_a_hole_in_a_matroska_file_is_told(make_clip: Make, derain: Derain, tmp_path: Path) -> None:
    whole = make_clip("whole.mkv", "libx264", ticks=range(60), noise=False, options={"g": "5"})
    with av.open(str(whole)) as old, av.open(str(tmp_path / "in.mkv"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for packet in list(old.demux()):
            time = (packet.pts or 0) * packet.time_base
            if packet.size and not Fraction(4, 5) <= time < Fraction(6, 5):
                packet.stream = stream
                new.mux(packet)
    report = derain(tmp_path / "in.mkv", tmp_path / "out.mkv")
    assert report.frames == 50
    (warning,) = report.warnings
    assert "about 10 frames" in warning


@pytest.mark.parametrize(
    ("name", "codec", "arguments"),
    [
        ("varied.mkv", "libx264", "-vf select='not(mod(n,3))+not(mod(n,7))' -fps_mode vfr"),
        ("late.mkv", "libx264", "-itsoffset 0.5"),
        ("program.mpg", "mpeg2video", ""),
        ("flash.flv", "flv1", ""),
        ("windows.wmv", "wmv2", ""),
        ("fragments.mp4", "libx264", "-movflags frag_keyframe+empty_moov"),
        ("hidden.webm", "libvpx", "-auto-alt-ref 1 -lag-in-frames 16 -b:v 200k"),
        ("packed.avi", "mpeg4", "-bf 2"),
        ("camera.dv", "dvvideo", "-s 720x576 -pix_fmt yuv420p"),
    ],
)
def test_an_odd_but_whole_file_misses_nothing(
    derain: Derain, tmp_path: Path, name: str, codec: str, arguments: str
) -> None:
    before = arguments.split() if arguments.startswith("-its") else []
    after = [] if before else arguments.split()
    source = "testsrc2=s=160x120:r=25:d=2"
    command = ["ffmpeg", "-v", "error", *before, "-f", "lavfi", "-i", source, "-c:v", codec]
    try:
        subprocess.run([*command, *after, name], cwd=tmp_path, check=True)
    except FileNotFoundError:
        pytest.skip("makes a file by the ffmpeg program")
    warnings = derain(tmp_path / name, tmp_path / "out.mkv").warnings
    assert [warning for warning in warnings if "not there" in warning] == []
