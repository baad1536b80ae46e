"""The ConvLSTM in one pass: four gate convolutions and the cell update behind them.

    i, f, g, o = [x, h] * w + b
    c' = sigmoid(f) c + sigmoid(i) tanh(g),   h' = sigmoid(o) tanh(c')

The gates are one convolution of 4 C channels whose result never leaves the registers. Of a first
stage, where h = c = 0, the half for h is left out. The convolution that makes x stays apart: as
part of this kernel each of the nine taps would compute it again.

Shapes: H height, W width, C channels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sapnet_kernels.fused_dilated_conv import conv_weight, convolved
from sapnet_kernels.gluon_cell import gluon_cell_kernel
from sapnet_kernels.product import product
from sapnet_kernels.tap_sums import store_partial, sums_like, tap_sums, tap_sums_reference
from sapnet_kernels.tile import Tile, load_tile, store_tile
from sapnet_kernels.tuning import chosen

TILES = {
    32: [
        Tile(128, warps=8, gluon=True),
        Tile(128, warps=8),
        Tile(64, warps=4, programs_per_sm=2),
        Tile(64, warps=8, descriptors=False),
        Tile(64, warps=8, stages=2, descriptors=False),
    ],
    64: [
        Tile(64, warps=8),
        Tile(64, warps=8, stages=2),
        Tile(32, warps=8, descriptors=False),
    ],
}
"""Ways to run it, by C."""


@triton.jit
def _tanh(x):
    return 2.0 * tl.sigmoid(2.0 * x) - 1.0


@triton.jit
def _convolve(
    gates,
    x,
    weight,
    row,
    left,
    height,
    width,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
    STAGES: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    """`gates` plus the convolution of frame `x` by [9, C, 4 C], for the tile at (row, left)."""
    channel = tl.arange(0, CHANNELS)[:, None]
    weight += channel * (4 * CHANNELS) + tl.arange(0, 4 * CHANNELS)[None, :]
    for tap in tl.range(9, num_stages=STAGES):
        y = row + tap // 3 - 1
        column = left + tap % 3 - 1
        seen = load_tile(x, y, column, height, width, CHANNELS, PIXELS, DESCRIPTORS)
        gates = product(seen, tl.load(weight + tap * (CHANNELS * 4 * CHANNELS)), gates)
    return gates


@triton.jit(do_not_specialize=["height", "width", "next_dilation"])
def _conv_lstm_cell_kernel(
    x,
    old_h,
    old_c,
    weight,
    bias,
    h,
    c,
    sums,
    height,
    width,
    next_dilation,
    CHANNELS: tl.constexpr,
    FIRST: tl.constexpr,
    PIXELS: tl.constexpr,
    STAGES: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    b = tl.load(bias + tl.arange(0, 4 * CHANNELS))
    total = tl.zeros((16, CHANNELS), tl.float32)
    across = tl.cdiv(width, PIXELS)
    # Hoisted out of the loop, what is the same for all tiles takes registers until they spill.
    for tile in tl.range(tl.program_id(0), height * across, tl.num_programs(0), disable_licm=True):
        row = tile // across
        left = tile % across * PIXELS
        gates = tl.zeros((PIXELS, 4 * CHANNELS), tl.float32)
        gates = _convolve(
            gates, x, weight, row, left, height, width, CHANNELS, PIXELS, STAGES, DESCRIPTORS
        )
        if not FIRST:
            w = weight + 9 * CHANNELS * 4 * CHANNELS
            gates = _convolve(
                gates, old_h, w, row, left, height, width, CHANNELS, PIXELS, STAGES, DESCRIPTORS
            )
        # i, g, o, f: in the layout of a product, columns a quarter apart are in one thread.
        gates = (gates + b[None, :]).reshape(PIXELS, 2, 2, CHANNELS).permute(0, 3, 1, 2)
        pairs = tl.split(gates)
        i, o = tl.split(pairs[0])
        g, f = tl.split(pairs[1])
        cell = tl.sigmoid(i) * _tanh(g)
        if not FIRST:
            cell += tl.sigmoid(f) * load_tile(
                old_c, row, left, height, width, CHANNELS, PIXELS, False
            )
        store_tile(c, cell, row, left, height, width, CHANNELS, PIXELS, False)
        hidden = (tl.sigmoid(o) * _tanh(cell)).to(weight.dtype.element_ty)
        store_tile(h, hidden, row, left, height, width, CHANNELS, PIXELS, DESCRIPTORS)
        total = tap_sums(total, hidden, row, left, height, width, next_dilation, PIXELS)
    store_partial(sums, total, CHANNELS)


def launch(
    tile: Tile,
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    next_dilation: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """`conv_lstm_cell` by `tile`."""
    x = x.contiguous()
    height, width, channels = x.shape
    new_h, new_c = torch.empty_like(x), x.new_empty(x.shape, dtype=torch.float32)
    sums = sums_like(new_h, tile, next_dilation)
    grid = (tile.programs(x),)
    seen = (
        tile.block(x),
        None if h is None else tile.block(h.contiguous()),
        None if c is None else c.contiguous(),
        weight.contiguous(),
        bias.contiguous(),
    )
    size = height, width, next_dilation
    first = h is None
    with torch.cuda.device_of(x):
        if tile.gluon:
            gluon_cell_kernel[grid](
                *seen,
                new_h,
                new_c,
                sums,
                *size,
                CHANNELS=channels,
                FIRST=first,
                PIXELS=tile.pixels,
                num_warps=tile.warps,
            )
        else:
            _conv_lstm_cell_kernel[grid](
                *seen,
                tile.block(new_h),
                new_c,
                sums,
                *size,
                CHANNELS=channels,
                FIRST=first,
                PIXELS=tile.pixels,
                STAGES=tile.stages,
                DESCRIPTORS=tile.descriptors,
                num_warps=tile.warps,
            )
    return new_h, new_c, sums


@torch.library.custom_op("sapnet::conv_lstm_cell", mutates_args=())
def conv_lstm_cell(
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    next_dilation: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the ConvLSTM, and the sums of its hidden state.

    Args:
        x: [H, W, C], any H, W >= 1; C is 32 or 64. float16, bfloat16 or float32.
        h: hidden state like x; None, with c, is zero.
        c: cell state [H, W, C], float32.
        weight: [18, C, 4 C] of `cell_weight`, the taps of x before those of h; x's dtype.
        bias: [4 C] float32, in the same order.
        next_dilation: of the convolution that reads the hidden state, 1 or more.

    Returns:
        h [H, W, C] in x's dtype; c [H, W, C] float32; partials of `tap_sums` of h,
        [P, 9, C] float32. Accumulated in float32; equal inputs give equal bits.
    """
    tile = chosen("conv_lstm_cell", TILES[x.shape[2]], x, x.shape[2], 1)
    return launch(tile, x, h, c, weight, bias, next_dilation)


@conv_lstm_cell.register_fake
def _(
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    next_dilation: int,
) -> tuple[Tensor, Tensor, Tensor]:
    tile = chosen("conv_lstm_cell", TILES[x.shape[2]], x, x.shape[2], 1)
    new_h = x.new_empty(x.shape)
    return new_h, x.new_empty(x.shape, dtype=torch.float32), sums_like(new_h, tile, next_dilation)


def cell_weight(i: Tensor, f: Tensor, g: Tensor, o: Tensor) -> Tensor:
    """The kernel's weight [18, C, 4 C] from the gates' [C, 2 C, 3, 3], or bias [4 C] from [C].

    Outputs are all i, then g, o and f.
    """
    gates = torch.cat((i, g, o, f))
    if gates.dim() == 1:
        return gates
    return torch.cat([conv_weight(half) for half in gates.chunk(2, dim=1)])


def conv_lstm_cell_reference(
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    next_dilation: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in PyTorch's own operators, in the dtype of its arguments."""
    gates = convolved(x, weight[:9], 1) + bias
    if h is not None:
        gates = gates + convolved(h, weight[9:], 1)
    i, g, o, f = gates.chunk(4, dim=2)
    cell = i.sigmoid() * g.tanh()
    if c is not None:
        cell = cell + f.sigmoid() * c
    hidden = o.sigmoid() * cell.tanh()
    return hidden, cell, tap_sums_reference(hidden, next_dilation)
