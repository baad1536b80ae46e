"""Fields into whole pictures: no comb, no frame more or less, each at its time."""

from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pytest

from sapnet_stream.video import deinterlace

TICK = Fraction(1, 25)
TIMES = [0, 1, 2, 5, 6, 9, 20]


def comb(number: int) -> npt.NDArray[np.uint8]:
    """A bright bar that moves: its odd rows are half a frame, or four columns, further on."""
    rows = np.full((48, 64), 40, np.uint8)
    for first in (0, 1):
        left = 8 * number + 4 * first
        rows[first::2, left : left + 12] = 200
    return rows


def pictures(
    order: str, pixel_format: str, samples: list[npt.NDArray[np.uint8]]
) -> list[av.VideoFrame]:
    """Gray levels as pictures whose fields are flagged as `order`: tff, bff or prog."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=64, height=48, format=av.VideoFormat(pixel_format), time_base=TICK
    )
    flags, sink = graph.add("setfield", order), graph.add("buffersink")
    source.link_to(flags)
    flags.link_to(sink)
    graph.configure()
    flagged: list[av.VideoFrame] = []
    for tick, luma in zip(TIMES, samples, strict=False):
        picture = av.VideoFrame.from_ndarray(luma, "gray").reformat(format=pixel_format)
        picture.pts, picture.time_base = tick, TICK
        graph.push(picture)
        done = graph.pull()
        assert isinstance(done, av.VideoFrame)
        flagged.append(done)
    return flagged


def deinterlaced(source: list[av.VideoFrame]) -> list[av.VideoFrame]:
    return list(deinterlace.deinterlaced(iter(source)))


def combing(picture: av.VideoFrame) -> float:
    luma = picture.to_ndarray(format="gray").astype(int)
    return float(np.abs(2 * luma[1:-1] - luma[:-2] - luma[2:]).mean())


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("order", ["tff", "bff", "prog"])
def test_every_frame_gives_one_picture_at_its_time(order: str, count: int) -> None:
    done = deinterlaced(pictures(order, "yuv420p", [comb(n) for n in range(count)]))
    times = [p.pts * p.time_base for p in done if p.pts is not None and p.time_base]
    assert times == [tick * TICK for tick in TIMES[:count]]
    assert not any(picture.interlaced_frame for picture in done)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "gray", "nv12", "uyvy422"])
def test_the_comb_is_gone(pixel_format: str) -> None:
    source = pictures("tff", pixel_format, [comb(n) for n in range(5)])
    before = [combing(picture) for picture in source]
    after = [combing(picture) for picture in deinterlaced(source)]
    assert max(after[1:4]) < 0.2 * min(before)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuva444p10le", "gbrp", "yuyv422"])
def test_progressive_frames_pass_untouched(pixel_format: str) -> None:
    done = deinterlaced(pictures("prog", pixel_format, [comb(n) for n in range(3)]))
    kept = [p.to_ndarray(format="gray") for p in done]
    expected = pictures("prog", pixel_format, [comb(n) for n in range(3)])
    for samples, picture in zip(kept, expected, strict=True):
        assert np.array_equal(samples, picture.to_ndarray(format="gray"))


def test_pictures_too_small_for_fields_pass() -> None:
    picture = av.VideoFrame(1, 2, "gray")
    picture.pts, picture.time_base = 3, TICK
    assert deinterlaced([picture]) == [picture]


def test_a_change_of_size_begins_anew() -> None:
    source = pictures("tff", "gray", [comb(0), comb(1)])
    small = av.VideoFrame(32, 16, "gray")
    small.pts, small.time_base = 2, TICK
    sizes = [(p.width, p.height) for p in deinterlaced([*source, small])]
    assert sizes == [(64, 48), (64, 48), (32, 16)]
