"""What the nine taps of a coming 3x3 convolution see of a frame, summed.

The algebra is in `kernels/README.md`: these sums give the global average of the convolution's
output before it runs. A kernel adds them up over the tiles it writes; each of its P programs
leaves one partial, and whoever reads the partials adds them in order, so equal inputs give
equal sums.

Shapes: H height, W width, C channels; taps in the order (ky, kx).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sapnet_kernels.product import product
from sapnet_kernels.tile import Tile


@triton.jit
def tap_sums(total, values, row, left, height, width, dilation, PIXELS: tl.constexpr):
    """`total` [16, C] plus those of the tile `values` [PIXELS, C] at (row, left).

    The taps' masks times the values: one product of matrices instead of nine masked sums. Nine
    rows count, 16 is what tensor cores take.
    """
    tap = tl.arange(0, 16)[:, None]
    x = left + tl.arange(0, PIXELS)
    seen = (tap % 3 != 0) | (x < width - dilation)[None, :]
    seen &= (tap % 3 != 2) | (x >= dilation)[None, :]
    seen &= (tap // 3 != 0) | (row < height - dilation)
    seen &= (tap // 3 != 2) | (row >= dilation)
    # Here and not in the mask: zero times an infinity beyond the frame would be no zero.
    inside = (row >= 0) & (row < height) & (x < width)
    values = tl.where(inside[:, None], values, 0.0).to(values.dtype)
    return product(tl.where(seen, 1.0, 0.0).to(values.dtype), values, total)


@triton.jit
def store_partial(sums, total, CHANNELS: tl.constexpr):
    """Write this program's [16, C] to its place in `sums` [P, 9, C]."""
    tap = tl.arange(0, 16)[:, None]
    row = sums + (tl.program_id(0) * 9 + tap) * CHANNELS
    tl.store(row + tl.arange(0, CHANNELS)[None, :], total, mask=tap < 9)


def sums_like(y: Tensor, tile: Tile, dilation: int) -> Tensor:
    """Room for the partials of a frame [H, W, C] cut by `tile`; none for dilation 0."""
    programs = tile.programs(y) if dilation else 0
    return y.new_empty(programs, 9, y.shape[2], dtype=torch.float32)


def tap_sums_reference(x: Tensor, dilation: int) -> Tensor:
    """[1, 9, C] of the frame `x` [H, W, C], in x's dtype."""
    rows = _seen(x, dilation, 0)
    sums = [_seen(columns, dilation, 1) for columns in rows]
    return torch.stack([tap.sum((0, 1)) for row in sums for tap in row])[None]


def _seen(x: Tensor, dilation: int, axis: int) -> list[Tensor]:
    """What tap 0, 1 and 2 along `axis` read: all but the last, all, all but the first."""
    size = x.shape[axis]
    left = max(0, size - dilation)
    return [x.narrow(axis, 0, left), x, x.narrow(axis, size - left, left)]
