"""Side and wipe: which samples of input and output a compared frame holds."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sapnet_stream.errors import UsageError
from sapnet_stream.video.compare import (
    COMPARISONS,
    WIPE_SECONDS,
    half_width,
    wipe,
    wipe_position,
)
from sapnet_stream.video.frame import Colour, Frame, pixel_layout
from sapnet_stream.video.orientation import Orientation

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Derain = Callable[..., Any]

FORMATS = [
    *("yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p"),
    *("yuv420p10le", "yuv444p12le", "gbrp", "gbrp16le", "gray", "gray10le"),
    *("yuva420p", "yuva422p10le", "gbrap"),
]


def frame_of(name: str, size: tuple[int, int], code: int, seconds: Fraction) -> Frame:
    """A picture whose samples all are `code`."""
    layout = pixel_layout(name)
    dtype = torch.uint8 if layout.bits == 8 else torch.uint16
    shapes = layout.plane_shapes(size[1], size[0])
    planes = tuple(torch.full(shape, code, dtype=dtype) for shape in shapes)
    base = Fraction(1, 1000)
    return Frame(planes, layout, Colour(0.299, 0.114, False), int(seconds / base), base)


def columns_of(plane: torch.Tensor) -> list[int]:
    """Each column's code, which all its rows must share."""
    samples = plane.numpy()
    assert np.array_equal(samples, np.broadcast_to(samples[:1], samples.shape))
    return [int(code) for code in samples[0]]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(67, 5), (64, 48), (130, 3), (71, 17)])
def test_wipe_is_before_then_a_line_then_after(name: str, size: tuple[int, int]) -> None:
    layout = pixel_layout(name)
    for tenth in range(0, 90, 7):
        time = Fraction(tenth, 10)
        before, after = (frame_of(name, size, code, time) for code in (50, 70))
        kept = [plane.clone() for plane in (*before.planes, *after.planes)]
        shown = wipe(before, after)
        assert (shown.pts, shown.layout) == (after.pts, layout)
        for was, now in zip(kept, (*before.planes, *after.planes), strict=True):
            assert torch.equal(was, now)
        edges = set()
        for number, plane in enumerate(shown.planes):
            step = 1 if number in (1, 2) and layout.model == "yuv" else layout.chroma_columns
            codes = columns_of(plane)
            assert plane.shape == after.planes[number].shape
            left, right = codes.count(50), codes.count(70)
            line = codes[left : len(codes) - right]
            assert codes == [50] * left + line + [70] * right
            if layout.alpha and number == 3:
                assert set(line) == {2**layout.bits - 1}
            elif number and layout.model == "yuv":
                assert line == [2 ** (layout.bits - 1)] * 2
            else:
                # At the right edge of an odd width white lacks what the picture lacks.
                white = 2**layout.bits - 1
                assert line[:step] == [0] * step and set(line[step:]) == {white}
            edges.add(left // step)
            assert left % step == 0
        assert len(edges) == 1


def test_the_line_goes_to_the_right_and_back_by_time_alone() -> None:
    def edge(seconds: Fraction) -> int:
        pair = (frame_of("yuv420p", (640, 2), code, seconds) for code in (50, 70))
        return columns_of(wipe(*pair).planes[0]).count(50)

    times = [Fraction(n, 25) for n in range(int(WIPE_SECONDS) * 25 + 1)]
    edges = [edge(time) for time in times]
    middle = len(edges) // 2
    assert edges[0] == edges[-1] == 0 and edges[middle] == 640 - 4
    assert edges[: middle + 1] == sorted(edges[: middle + 1])
    assert edges == edges[::-1]
    assert max(abs(b - a) for a, b in pairwise(edges)) <= 12
    assert edge(Fraction(1)) == edge(Fraction(1) + int(WIPE_SECONDS) * 3)
    assert wipe_position(-1.0) == pytest.approx(wipe_position(1.0))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (15, 4), (5, 1)])
def test_a_picture_too_narrow_for_a_line_has_none(size: tuple[int, int]) -> None:
    for name in FORMATS:
        for time in (0, 2, 4):
            shown = wipe(*(frame_of(name, size, code, Fraction(time)) for code in (50, 70)))
            codes = columns_of(shown.planes[0])
            assert set(codes) <= {50, 70} and codes == sorted(codes)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(67, 5), (1, 1), (64, 48)])
def test_side_is_before_beside_after(name: str, size: tuple[int, int]) -> None:
    before, after = (frame_of(name, size, code, Fraction(0)) for code in (50, 70))
    shown = COMPARISONS["side"].frame(before, after)
    half = half_width(size[0], before.layout.chroma_columns)
    assert shown.width == 2 * half
    for plane in shown.planes:
        codes = columns_of(plane)
        assert codes == sorted(codes) and abs(codes.count(50) - codes.count(70)) <= (half == 1)
    assert [tuple(plane.shape) for plane in shown.planes] == before.layout.plane_shapes(
        size[1], 2 * half
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", list(COMPARISONS))
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_of_a_turned_video_left_is_what_the_viewer_sees(
    name: str, kind: str, turns: int, mirrored: bool
) -> None:
    size = (64, 48)
    orientation = Orientation(turns, mirrored)
    before, after = (
        replace(frame_of(name, size, code, Fraction(3)), orientation=orientation)
        for code in (50, 70)
    )
    shown = COMPARISONS[kind].frame(before, after)
    assert (shown.layout, shown.orientation) == (after.layout, orientation)
    assert [tuple(plane.shape) for plane in shown.planes] == before.layout.plane_shapes(
        shown.height, shown.width
    )
    codes = columns_of(orientation.upright(shown.planes[0]))
    assert codes[0] == 50 and codes[-1] == 70
    wide = orientation.size(size[1], size[0])[1]
    assert len(codes) == (2 * wide if kind == "side" else wide)


def test_compare_puts_before_left_and_after_right(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path
) -> None:
    source = make_clip("in.mkv", "ffv1", "yuv420p", (33, 17), noise=False)
    derain(source, tmp_path / "plain.mkv", amount=0.1)
    derain(source, tmp_path / "side.mkv", amount=0.1, compare="side")
    before, plain, side = (
        read_clip(path) for path in (source, tmp_path / "plain.mkv", tmp_path / "side.mkv")
    )
    assert side.times == before.times and side.tags["size"] == (64, 17)
    for was, now, both in zip(before.planes[5], plain.planes[5], side.planes[5], strict=True):
        half = both.shape[1] // 2
        assert np.array_equal(both[:, :half], was[:, :half])
        assert np.array_equal(both[:, half:], now[:, :half])
    with pytest.raises(UsageError, match="--compare must be side"):
        derain(source, tmp_path / "other.mkv", compare="top")


def test_a_turned_video_is_compared_as_the_viewer_sees_it(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path
) -> None:
    quarter = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
    source = make_clip(
        "in.mp4", "libx264", size=(416, 400), ticks=range(3), noise=False, display_matrix=quarter
    )
    derain(source, tmp_path / "side.mp4", amount=0.1, compare="side")
    side, before = (read_clip(path) for path in (tmp_path / "side.mp4", source))
    assert side.tags["size"] == (416, 800) and side.tags["rotation"] == before.tags["rotation"]
    # With 800 lines players would take what has no tag for BT.709.
    assert side.tags["colour"][0] == 6
    seen = np.rot90(side.planes[1][0].astype(int), side.tags["rotation"] // 90)
    left, right = np.hsplit(seen, 2)
    assert np.median(right - left) == pytest.approx(0.1 * 219, abs=2)
