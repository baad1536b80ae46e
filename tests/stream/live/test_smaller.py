"""Deraining at half the size: exact where nothing changes, near where much does."""

from fractions import Fraction

import pytest
import torch

from sapnet_stream.live.smaller import at_half_size
from sapnet_stream.video.frame import Colour, Frame, pixel_layout


def frame(name: str, height: int, width: int) -> Frame:
    layout = pixel_layout(name)
    dtype = torch.uint8 if layout.bits == 8 else torch.uint16
    generator = torch.Generator().manual_seed(0)
    planes = tuple(
        torch.randint(0, 2**layout.bits, shape, generator=generator).to(dtype)
        for shape in layout.plane_shapes(height, width)
    )
    return Frame(planes, layout, Colour.from_tags(1, False, height), 5, Fraction(1, 25))


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "gbrp", "gray", "yuva420p"])
@pytest.mark.parametrize("size", [(48, 64), (37, 51), (1, 1)])
def test_no_change_is_exact(name: str, size: tuple[int, int]) -> None:
    source = frame(name, *size)
    clean = at_half_size(source, lambda small: small)
    assert clean.pts == source.pts
    for before, after in zip(source.planes, clean.planes, strict=True):
        assert before.dtype == after.dtype and torch.equal(before, after)


def test_the_network_sees_half_the_size_and_its_change_is_everywhere() -> None:
    seen = []

    def darker(small: Frame) -> Frame:
        seen.append((small.height, small.width))
        return small.with_planes(tuple((p.int() // 2).to(p.dtype) for p in small.planes))

    source = frame("gray", 48, 64).with_planes((torch.full((48, 64), 200, dtype=torch.uint8),))
    clean = at_half_size(source, darker)
    assert seen == [(24, 32)]
    assert torch.equal(clean.planes[0], torch.full((48, 64), 100, dtype=torch.uint8))
