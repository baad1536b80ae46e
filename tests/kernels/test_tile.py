"""Reading and writing tiles anywhere, also beyond the frame and beyond 2^31 elements."""

import pytest
import torch
import triton
import triton.language as tl

from sapnet_kernels.tile import Tile, load_tile, store_tile

HEIGHT, WIDTH, CHANNELS = 2**21 + 3, 32, 32


@triton.jit
def _copy_kernel(address, top, left, height, width, to):
    x = tl.cast(address, tl.pointer_type(tl.float16))
    tile = load_tile(x, top, left, height, width, 32, 8, False)
    store_tile(x, tile, to, left, height, width, 32, 8, False)


def test_beyond_two_to_the_31_elements(device: torch.device) -> None:
    """By pointers; descriptors count in rows and columns."""
    # 4 GiB, of which a CPU hands out the pages that are written. As an address, for the
    # interpreter copies a tensor.
    x = torch.empty(HEIGHT, WIDTH, CHANNELS, dtype=torch.float16, device=device)
    assert x.numel() > 2**31
    x[-3:] = torch.rand(3, WIDTH, CHANNELS)
    expected = x[-3:].clone()
    expected[-1, 5:13] = expected[0, 5:13]

    _copy_kernel[(1,)](x.data_ptr(), HEIGHT - 3, 5, HEIGHT, WIDTH, HEIGHT - 1)
    assert torch.equal(x[-3:], expected)


@pytest.mark.parametrize("descriptors", [True, False])
@pytest.mark.parametrize("corner", [(-1, -1), (4, 6), (-9, 0), (0, 70)])
def test_zeros_beyond_the_frame(
    corner: tuple[int, int], descriptors: bool, device: torch.device
) -> None:
    x = torch.rand(5, 8, 32, device=device)
    y = torch.full((1, 8, 32), float("nan"), device=device)
    tile = Tile(8, warps=1, descriptors=descriptors)
    _load_kernel[(1,)](tile.block(x), y, *corner, *x.shape[:2], descriptors)
    padded = torch.zeros(40, 120, 32, device=device)
    padded[20:25, 20:28] = x
    top, left = 20 + corner[0], 20 + corner[1]
    assert torch.equal(y[0], padded[top, left : left + 8])


@triton.jit
def _load_kernel(x, y, top, left, height, width, DESCRIPTORS: tl.constexpr):
    tile = load_tile(x, top, left, height, width, 32, 8, DESCRIPTORS)
    store_tile(y, tile, 0, 0, 1, 8, 32, 8, False)
