"""The ConvLSTM in one pass: four gate convolutions and the cell update behind them.

    i, f, g, o = [x, h] * w + b
    c' = sigmoid(f) c + sigmoid(i) tanh(g),   h' = sigmoid(o) tanh(c')

The gates are one convolution of 4 C channels whose result never leaves the registers; 16
channels, with their four gates, are the work of a program. Of a first stage, where h = c = 0, the half for h is left out. The convolution that makes x stays apart: as
part of this kernel each of the nine taps would compute it again.

Shapes: H height, W width, C channels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sapnet_kernels.fused_dilated_conv import conv_weight, convolved
from sapnet_kernels.tap_sums import store_partial, sums_like, tap_sums, tap_sums_reference
from sapnet_kernels.tile import Tile, load_tile, store_tile
from sapnet_kernels.tuning import chosen
from sapnet_kernels.walk import load_weights, place, share, step_on

TILES = {
    32: [
        Tile(128, warps=8, stages=2, resident=True),
        Tile(64, warps=4, stages=2, resident=True),
        Tile(64, warps=4, stages=2, programs_per_sm=2),
        Tile(32, warps=4, stages=2, programs_per_sm=2, descriptors=False),
    ],
    64: [
        Tile(64, warps=4, stages=2),
        Tile(32, warps=4, stages=2, descriptors=False),
    ],
}
"""Ways to run it, by C."""
# Channels that a program makes: the gates of more would take its registers until they spill.
_PART = 16


@triton.jit
def _tanh(x):
    return 2.0 * tl.sigmoid(2.0 * x) - 1.0


@triton.jit
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
    PART: tl.constexpr,
    PIXELS: tl.constexpr,
    STAGES: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
    RESIDENT: tl.constexpr,
):
    GATES: tl.constexpr = 4 * PART
    part = tl.program_id(1)
    b = tl.load(bias + part * GATES + tl.arange(0, GATES))
    weight += part * (18 * CHANNELS * GATES)
    weight_h = weight + 9 * CHANNELS * GATES
    weights = load_weights(weight, CHANNELS, GATES) if RESIDENT else None
    weights_h = load_weights(weight_h, CHANNELS, GATES) if RESIDENT and not FIRST else None
    total = tl.zeros((16, PART), tl.float32)
    here = tl.zeros((PIXELS, GATES), tl.float32)
    below = tl.zeros((PIXELS, GATES), tl.float32)
    first, end = share(height, width, 1, PIXELS)
    for step in tl.range(first - 2, end, num_stages=STAGES, disable_licm=True):
        row, left = place(step, height, 1, PIXELS)
        gates, here, below = step_on(
            here,
            below,
            tl.zeros((PIXELS, GATES), tl.float32),
            x,
            row,
            left,
            weight,
            weights,
            height,
            width,
            1,
            CHANNELS,
            GATES,
            PIXELS,
            DESCRIPTORS,
            RESIDENT,
        )
        if not FIRST:
            gates, here, below = step_on(
                gates,
                here,
                below,
                old_h,
                row,
                left,
                weight_h,
                weights_h,
                height,
                width,
                1,
                CHANNELS,
                GATES,
                PIXELS,
                DESCRIPTORS,
                RESIDENT,
            )
        # Sums that were begun before this program came are another's.
        row = tl.where(step >= first, row - 1, height)
        gates = (gates + b[None, :]).reshape(PIXELS, 2, 2, PART).permute(0, 3, 1, 2)
        pairs = tl.split(gates)
        i, o = tl.split(pairs[0])
        g, f = tl.split(pairs[1])
        cell = tl.sigmoid(i) * _tanh(g)
        # Frames of floats as fine as a part: its pixels are CHANNELS apart.
        pixel = tl.arange(0, PIXELS)
        inside = ((row >= 0) & (row < height) & (left + pixel < width))[:, None]
        start = (row * tl.cast(width, tl.int64) + left) * CHANNELS + part * PART
        offset = pixel[:, None] * CHANNELS + tl.arange(0, PART)[None, :]
        if not FIRST:
            cell += tl.sigmoid(f) * tl.load(old_c + start + offset, mask=inside, other=0.0)
        tl.store(c + start + offset, cell, mask=inside)
        hidden = (tl.sigmoid(o) * _tanh(cell)).to(weight.dtype.element_ty)
        tl.store(h + start + offset, hidden, mask=inside)
        total = tap_sums(total, hidden, row, left, height, width, next_dilation, PIXELS)
    tap = tl.arange(0, 16)[:, None]
    row = sums + (tl.program_id(0) * 9 + tap) * CHANNELS + part * PART
    tl.store(row + tl.arange(0, PART)[None, :], total, mask=tap < 9)


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
    with torch.cuda.device_of(x):
        _conv_lstm_cell_kernel[(tile.programs(x), channels // _PART)](
            tile.block(x),
            None if h is None else tile.block(h.contiguous()),
            None if c is None else c.contiguous(),
            weight.contiguous(),
            bias.contiguous(),
            new_h,
            new_c,
            sums,
            height,
            width,
            next_dilation,
            CHANNELS=channels,
            FIRST=h is None,
            PART=_PART,
            **tile.options(),
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
        weight: [C / 16, 18, C, 64] of `cell_weight`, the taps of x before those of h; x's dtype.
        bias: [4 C] float32 of `cell_bias`.
        next_dilation: of the convolution that reads the hidden state, 1 or more.

    Returns:
        h [H, W, C] in x's dtype; c [H, W, C] float32; partials of `tap_sums` of h,
        [P, 9, C] float32. Accumulated in float32; equal inputs give equal bits.
    """
    tile = chosen("conv_lstm_cell", TILES[x.shape[2]], x, 1)
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
    tile = chosen("conv_lstm_cell", TILES[x.shape[2]], x, 1)
    new_h = x.new_empty(x.shape)
    return new_h, x.new_empty(x.shape, dtype=torch.float32), sums_like(new_h, tile, next_dilation)


def cell_weight(i: Tensor, f: Tensor, g: Tensor, o: Tensor) -> Tensor:
    """The kernel's weight [C / 16, 18, C, 64] from the gates' [C, 2 C, 3, 3].

    A part is 16 channels, their i first, then g, o and f.
    """
    gates = _by_parts(i, f, g, o).flatten(0, 1)
    weight = torch.cat([conv_weight(half) for half in gates.chunk(2, dim=1)])
    return weight.unflatten(2, (-1, 4 * _PART)).permute(2, 0, 1, 3).contiguous()


def cell_bias(i: Tensor, f: Tensor, g: Tensor, o: Tensor) -> Tensor:
    """The kernel's bias [4 C] from the gates' [C], ordered likewise."""
    return _by_parts(i, f, g, o).flatten()


def _by_parts(i: Tensor, f: Tensor, g: Tensor, o: Tensor) -> Tensor:
    """[C / 16, 64, …] from four [C, …]."""
    gates = torch.stack((i, g, o, f)).unflatten(1, (-1, _PART))
    return gates.transpose(0, 1).flatten(1, 2)


def conv_lstm_cell_reference(
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    next_dilation: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in PyTorch's own operators, in the dtype of its arguments."""
    weight = torch.cat(list(weight), dim=2)
    gates = convolved(x, weight[:9], 1) + bias
    if h is not None:
        gates = gates + convolved(h, weight[9:], 1)
    parts = gates.unflatten(2, (-1, 4, _PART))
    i, g, o, f = (gate.flatten(2) for gate in parts.unbind(3))
    cell = i.sigmoid() * g.tanh()
    if c is not None:
        cell = cell + f.sigmoid() * c
    hidden = o.sigmoid() * cell.tanh()
    return hidden, cell, tap_sums_reference(hidden, next_dilation)
