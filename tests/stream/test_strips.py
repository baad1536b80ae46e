"""Strips, their padding, and the pool that is known before its convolution."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from sapnet_stream.networks.strips import Plane, Strips, TapMeans, rectify

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
DILATIONS = (1, 2, 4, 8, 16)


@given(height=st.integers(1, 200), rows=st.integers(1, 250))
def test_strips_cover_every_row_once(height: int, rows: int) -> None:
    covered = [row for start, stop in Strips(height, rows) for row in range(start, stop)]
    assert covered == list(range(height))


@pytest.mark.parametrize("dilation", DILATIONS)
@pytest.mark.parametrize("rows", [1, 5, 23])
def test_convolution_of_strips_is_the_convolution(dilation: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(dilation)
    x = torch.randn(1, 4, 23, 19, generator=generator)
    weight, bias = torch.randn(6, 4, 3, 3, generator=generator), torch.randn(6)
    plane = Plane(4, 23, 19, 16, torch.float32, CPU)
    plane.rows(0, 23).copy_(x)
    strips = [plane.convolved(*span, weight, bias, dilation) for span in Strips(23, rows)]
    whole = functional.conv2d(x, weight, bias, padding=dilation, dilation=dilation)
    torch.testing.assert_close(torch.cat(strips, dim=2), whole, atol=1e-5, rtol=1e-5)


# Taller and wider than 2 d, between d and 2 d, and smaller than d, down to one pixel.
SIZES = [(1, 1), (1, 40), (40, 1), (3, 5), (15, 17), (16, 16), (17, 31), (40, 50)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dilation", DILATIONS)
def test_pool_is_known_before_the_convolution(size: tuple[int, int], dilation: int) -> None:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(1, 8, *size, generator=generator) + 1
    weight, bias = torch.randn(8, 8, 3, 3, generator=generator), torch.randn(8)
    means = TapMeans(8, *size, torch.float32, CPU)
    for start, stop in Strips(size[0], 7):
        means.add(x[:, :, start:stop], start, stop)
    taps = weight.permute(0, 2, 3, 1).flatten(1)
    pool = taps @ means.means(x, dilation) + bias
    convolved = functional.conv2d(x, weight, bias, padding=dilation, dilation=dilation)
    torch.testing.assert_close(pool, convolved.mean((0, 2, 3)), atol=2e-5, rtol=1e-5)


def test_taps_outside_the_frame_see_exactly_nothing() -> None:
    x = torch.rand(1, 8, 5, 6)
    means = TapMeans(8, 5, 6, torch.float32, CPU)
    means.add(x, 0, 5)
    taps = means.means(x, 16).reshape(3, 3, 8)
    assert taps[1, 1].min() > 0
    taps[1, 1] = 0
    assert taps.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rectify_is_relu(dtype: torch.dtype) -> None:
    x = torch.tensor([-torch.inf, -3, -1e-7, -0.0, 0.0, 1e-7, 3, torch.inf]).to(dtype)
    out = torch.full_like(x, torch.nan)
    rectify(x, out=out)
    assert torch.equal(out, x.relu())
    rectify(x, out=x)
    assert torch.equal(out, x)
