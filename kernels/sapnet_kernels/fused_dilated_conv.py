"""A 3x3 convolution, the channel attention after it, ReLU and residual in one pass.

    y = relu(s (x * w + b)),   with a residual r:   y = relu(relu(s (x * w + b)) + r)

The scales s come from `attention_scale`, which knows them before the convolution runs. They
multiply the float32 accumulators: that is the same as folding them into w and b, and neither
rewrites the weights for each frame nor rounds them once more. While a tile of y is in registers,
its share of the sums that the next scales need is taken (`tap_sums`).

Shapes: H height, W width, I channels in, O out.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from sapnet_kernels.tap_sums import (
    store_partial,
    sums_like,
    tap_sums,
    tap_sums_reference,
)
from sapnet_kernels.tile import Tile, load_tile, store_tile
from sapnet_kernels.tuning import chosen
from sapnet_kernels.walk import following, load_weights, place, share, span, step_on

TILES = {
    32: [
        Tile(64, warps=4, programs_per_sm=3, resident=True),
        Tile(128, warps=4, stages=2, programs_per_sm=2, resident=True),
        Tile(64, warps=4, programs_per_sm=2),
        Tile(64, warps=4, programs_per_sm=3, descriptors=False),
        Tile(128, warps=8, stages=2, programs_per_sm=1, descriptors=False),
    ],
    64: [
        # With two stages, or with weights that are loaded again, Triton 3.6 spills.
        Tile(64, warps=4, stages=1, programs_per_sm=2, resident=True),
        Tile(64, warps=8, stages=1, resident=True),
        Tile(32, warps=8, stages=2, programs_per_sm=1, descriptors=False),
    ],
}
"""Ways to run it, by O, unless `tiles` has others."""
_FROM_64 = [
    Tile(64, warps=4, stages=2, programs_per_sm=2, resident=True),
    Tile(64, warps=4, stages=3, programs_per_sm=2, resident=True),
    Tile(64, warps=8, stages=1),
    Tile(64, warps=4, stages=2, programs_per_sm=1, descriptors=False),
    Tile(32, warps=8, stages=2, programs_per_sm=1, descriptors=False),
]
# A pair of images: twice as many programs fit.
_TO_PAIR = [
    Tile(64, warps=4, programs_per_sm=4, resident=True),
    Tile(64, warps=4, stages=2, programs_per_sm=5, resident=True),
    # On sm_120 Triton 3.6 spills with four warps.
    Tile(128, warps=8, stages=2, programs_per_sm=2),
    Tile(64, warps=4, programs_per_sm=2, descriptors=False),
    Tile(64, warps=4, stages=2, programs_per_sm=3, descriptors=False),
]
_FROM_PAIR = [*TILES[32], Tile(64, warps=4, programs_per_sm=6, resident=True)]
_OTHERS = {(64, 32): _FROM_64, (64, 16): _FROM_64, (32, 16): _TO_PAIR, (16, 32): _FROM_PAIR}


def tiles(channels_in: int, channels: int) -> list[Tile]:
    """Ways to run it from I channels to O."""
    return _OTHERS.get((channels_in, channels)) or TILES[channels]


# One binary serves all frames and dilations: no load or store is wider for what 16 divides.
@triton.jit(do_not_specialize=["height", "width", "dilation", "next_dilation"])
def _fused_dilated_conv_kernel(
    x,
    weight,
    bias,
    scale,
    residual,
    y,
    sums,
    height,
    width,
    dilation,
    next_dilation,
    CHANNELS_IN: tl.constexpr,
    CHANNELS: tl.constexpr,
    SCALE: tl.constexpr,
    RELU: tl.constexpr,
    RESIDUAL: tl.constexpr,
    SUMS: tl.constexpr,
    PIXELS: tl.constexpr,
    STAGES: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
    RESIDENT: tl.constexpr,
):
    channel = tl.arange(0, CHANNELS)
    b = tl.load(bias + channel)
    if SCALE:
        s = tl.load(scale + channel)
    block = tl.arange(0, CHANNELS_IN)[:, None] * CHANNELS + channel[None, :]
    weights = load_weights(weight, block, CHANNELS_IN * CHANNELS) if RESIDENT else None
    total = tl.zeros((16, CHANNELS), tl.float32)
    here = tl.zeros((PIXELS, CHANNELS), tl.float32)
    below = tl.zeros((PIXELS, CHANNELS), tl.float32)
    first, end = share(height, width, dilation, PIXELS)
    row, left = place(first - 2, height, dilation, PIXELS)
    rows = span(height, dilation)
    for step in tl.range(first - 2, end, num_stages=STAGES, disable_licm=True):
        value, here, below = step_on(
            here,
            below,
            tl.zeros((PIXELS, CHANNELS), tl.float32),
            x,
            row,
            left,
            weight,
            weights,
            block,
            height,
            width,
            dilation,
            CHANNELS_IN,
            CHANNELS_IN * CHANNELS,
            PIXELS,
            DESCRIPTORS,
            RESIDENT,
        )
        # Sums that were begun before this program came are another's. The copy engine drops what
        # is written below the frame; above it, it may read but not write.
        kept = (step >= first) & (row >= dilation)
        above = tl.where(kept, row - dilation, height)
        value += b[None, :]
        if SCALE:
            value *= s[None, :]
        if RELU:
            value = tl.maximum(value, 0.0)
        if RESIDUAL:
            value += load_tile(residual, above, left, height, width, CHANNELS, PIXELS, DESCRIPTORS)
            if RELU:
                value = tl.maximum(value, 0.0)
        value = value.to(weight.dtype.element_ty)
        store_tile(y, value, above, left, height, width, CHANNELS, PIXELS, DESCRIPTORS)
        if SUMS:
            total = tap_sums(total, value, above, left, height, width, next_dilation, PIXELS)
        row, left = following(row, left, height, dilation, rows, PIXELS)
    if SUMS:
        store_partial(sums, total, CHANNELS)


def launch(
    tile: Tile,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    residual: Tensor | None,
    dilation: int,
    next_dilation: int,
    relu: bool,
) -> tuple[Tensor, Tensor]:
    """`fused_dilated_conv` by `tile`."""
    x, weight = x.contiguous(), weight.contiguous()
    height, width, channels_in = x.shape
    channels = weight.shape[2]
    y = x.new_empty(height, width, channels)
    sums = sums_like(y, tile, next_dilation)
    grid = (tile.programs(y),)
    with torch.cuda.device_of(x):
        _fused_dilated_conv_kernel[grid](
            tile.block(x),
            weight,
            bias.contiguous(),
            None if scale is None else scale.contiguous(),
            None if residual is None else tile.block(residual.contiguous()),
            tile.block(y),
            sums,
            height,
            width,
            dilation,
            next_dilation,
            CHANNELS_IN=channels_in,
            CHANNELS=channels,
            SCALE=scale is not None,
            RELU=relu,
            RESIDUAL=residual is not None,
            SUMS=next_dilation > 0,
            **tile.options(),
        )
    return y, sums


def _tile(x: Tensor, weight: Tensor, dilation: int) -> Tile:
    channels_in, channels = weight.shape[1:]
    return chosen("fused_dilated_conv", tiles(channels_in, channels), x, channels, dilation)


@torch.library.custom_op("sapnet::fused_dilated_conv", mutates_args=())
def fused_dilated_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    residual: Tensor | None,
    dilation: int,
    next_dilation: int,
    relu: bool = True,
) -> tuple[Tensor, Tensor]:
    """One pass: convolution, scale, ReLU, residual and the sums behind the next scale.

    Args:
        x: [H, W, I], any H, W >= 1; I and O are 16, 32 or 64, not both 16.
            float16, bfloat16 or float32; other strides than those of a contiguous tensor cost
            a copy.
        weight: [9, I, O] of `conv_weight`, x's dtype.
        bias: [O] float32.
        scale: [O] float32 of `attention_scale`; None is 1.
        residual: [H, W, O] in x's dtype to add after the ReLU, before another; or None.
        dilation: of this convolution, 1 or more; zeros pad the frame.
        next_dilation: of the one that reads y; 0 where no attention follows.
        relu: rectify.

    Returns:
        y [H, W, O] in x's dtype; partials of `tap_sums` of y, [P, 9, O] float32, empty for
        next_dilation 0. Accumulated in float32; equal inputs give equal bits.
    """
    tile = _tile(x, weight, dilation)
    return launch(tile, x, weight, bias, scale, residual, dilation, next_dilation, relu)


@fused_dilated_conv.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    residual: Tensor | None,
    dilation: int,
    next_dilation: int,
    relu: bool = True,
) -> tuple[Tensor, Tensor]:
    y = x.new_empty(x.shape[0], x.shape[1], weight.shape[2])
    return y, sums_like(y, _tile(x, weight, dilation), next_dilation)


def fused_dilated_conv_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    residual: Tensor | None,
    dilation: int,
    next_dilation: int,
    relu: bool = True,
) -> tuple[Tensor, Tensor]:
    """The same in PyTorch's own operators, in the dtype of its arguments."""
    y = convolved(x, weight, dilation) + bias
    if scale is not None:
        y = y * scale
    if relu:
        y = y.relu()
    if residual is not None:
        y = (y + residual).relu() if relu else y + residual
    sums = tap_sums_reference(y, next_dilation) if next_dilation else y.new_empty(0, 9, y.shape[2])
    return y, sums


def conv_weight(weight: Tensor) -> Tensor:
    """The kernel's weight [9, I, O] from a layer's [O, I, 3, 3]."""
    return weight.permute(2, 3, 1, 0).flatten(0, 1)


def convolved(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Zero-padded 3x3 convolution of [H, W, I] by [9, I, O]."""
    kernel = weight.unflatten(0, (3, 3)).permute(3, 2, 0, 1)
    frame = x.permute(2, 0, 1)[None]
    y = functional.conv2d(frame, kernel, padding=dilation, dilation=dilation)
    return y[0].permute(1, 2, 0)
