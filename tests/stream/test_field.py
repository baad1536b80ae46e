"""Fields of a frame: whole pictures of half the height, woven again as they were."""

from fractions import Fraction

import pytest
import torch

from sapnet_stream.engine import DerainEngine
from sapnet_stream.video.field import split_fields, weave_fields
from sapnet_stream.video.frame import Colour, Frame, pixel_layout


def noise(name: str, height: int, width: int = 9, *, interlaced: bool = True) -> Frame:
    layout = pixel_layout(name)
    planes = tuple(
        torch.randint(0, 2**layout.bits, shape).to(torch.uint8 if layout.bits == 8 else torch.int16)
        for shape in layout.plane_shapes(height, width)
    )
    colour = Colour.from_tags(1, False, 1080)
    return Frame(planes, layout, colour, 3, Fraction(1, 25), interlaced=interlaced)


@pytest.mark.parametrize("height", [4, 8, 480, 576])
@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "yuva444p", "gbrp", "gray"])
def test_fields_are_the_rows_of_two_moments(name: str, height: int) -> None:
    frame = noise(name, height)
    upper, lower = split_fields(frame)
    assert upper.height == lower.height == height // 2
    assert torch.equal(upper.planes[0], frame.planes[0][0::2])
    assert torch.equal(lower.planes[-1], frame.planes[-1][1::2])
    woven = weave_fields((upper, lower))
    assert (woven.pts, woven.interlaced) == (3, True)
    for before, after in zip(frame.planes, woven.planes, strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize(
    ("name", "height", "fields"),
    [("yuv420p", 6, 1), ("yuv420p", 5, 2), ("yuv422p", 5, 2), ("gray", 2, 2), ("gray", 1, 1)],
)
def test_rows_that_do_not_divide_stay_together(name: str, height: int, fields: int) -> None:
    frame = noise(name, height)
    parts = split_fields(frame)
    assert len(parts) == fields
    assert all(map(torch.equal, weave_fields(parts).planes, frame.planes))


def test_a_progressive_frame_is_one_picture() -> None:
    frame = noise("yuv420p", 8, interlaced=False)
    assert split_fields(frame) == (frame,)


class Rows:
    """Stands in for the network: remembers what it was shown."""

    name = "rows"

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image)
        return image

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


def test_the_network_sees_one_moment_at_a_time() -> None:
    layout, colour = pixel_layout("yuv420p"), Colour(0.2126, 0.0722, True)
    luma = torch.zeros(8, 6, dtype=torch.uint8)
    luma[1::2] = 200
    chroma = torch.full((4, 3), 128, dtype=torch.uint8)
    chroma[1::2] = 90
    frame = Frame((luma, chroma, chroma), layout, colour, 0, Fraction(1, 25), interlaced=True)
    network = Rows()
    done = DerainEngine(executor=network).frame(frame)
    assert [tuple(seen.shape) for seen in network.seen] == [(1, 3, 4, 6)] * 2
    for seen in network.seen:
        # Also the colours, which a progressive reading would give to the other field.
        assert (seen == seen[:, :, :1, :1]).all()
    assert all(map(torch.equal, done.planes, frame.planes))
