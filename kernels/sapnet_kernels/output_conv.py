"""The last convolution of a stage: C channels to RGB, 3x3, added to the rainy image.

Shapes: H height, W width, C channels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from sapnet_kernels.fused_dilated_conv import conv_weight, convolved
from sapnet_kernels.tile import Tile
from sapnet_kernels.tuning import chosen
from sapnet_kernels.walk import following, load_weights, place, share, span, step_on

TILES = [
    Tile(64, warps=4, programs_per_sm=3, resident=True),
    Tile(64, warps=4, programs_per_sm=3),
    Tile(64, warps=4, programs_per_sm=3, descriptors=False),
    Tile(128, warps=8, stages=2, programs_per_sm=1, descriptors=False),
]
# RGB up to what tensor cores take.
_COLUMNS = 16


# Where 16 divides the width, four pixels of a plane are one load and one store.
@triton.jit(do_not_specialize=["height"])
def _output_conv_kernel(
    x,
    weight,
    bias,
    image,
    estimate,
    height,
    width,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    PIXELS: tl.constexpr,
    STAGES: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
    RESIDENT: tl.constexpr,
):
    output = tl.arange(0, OUTPUTS)
    b = tl.load(bias + output)
    block = tl.arange(0, CHANNELS)[:, None] * OUTPUTS + output[None, :]
    weights = load_weights(weight, block, CHANNELS * OUTPUTS) if RESIDENT else None
    here = tl.zeros((PIXELS, OUTPUTS), tl.float32)
    below = tl.zeros((PIXELS, OUTPUTS), tl.float32)
    first, end = share(height, width, 1, PIXELS)
    row, left = place(first - 2, height, 1, PIXELS)
    rows = span(height, 1)
    for step in tl.range(first - 2, end, num_stages=STAGES, disable_licm=True):
        change, here, below = step_on(
            here,
            below,
            tl.zeros((PIXELS, OUTPUTS), tl.float32),
            x,
            row,
            left,
            weight,
            weights,
            block,
            height,
            width,
            1,
            CHANNELS,
            CHANNELS * OUTPUTS,
            PIXELS,
            DESCRIPTORS,
            RESIDENT,
        )
        # Sums that were begun before this program came are another's.
        above = tl.where(step >= first, row - 1, -1)
        column = left + tl.arange(0, PIXELS)
        offset = (above + output.to(tl.int64) * height)[None, :] * width + column[:, None]
        real = (above >= 0) & (column < width)[:, None] & (output < 3)[None, :]
        change += b[None, :] + tl.load(image + offset, mask=real, other=0.0)
        tl.store(estimate + offset, change, mask=real)
        row, left = following(row, left, height, 1, rows, PIXELS)


def launch(tile: Tile, x: Tensor, weight: Tensor, bias: Tensor, image: Tensor) -> Tensor:
    """`output_conv` by `tile`."""
    x, image = x.contiguous(), image.contiguous()
    height, width, channels = x.shape
    estimate = torch.empty_like(image)
    with torch.cuda.device_of(x):
        _output_conv_kernel[(tile.programs(x),)](
            tile.block(x),
            weight.contiguous(),
            bias.contiguous(),
            image,
            estimate,
            height,
            width,
            CHANNELS=channels,
            OUTPUTS=_COLUMNS,
            **tile.options(),
        )
    return estimate


@torch.library.custom_op("sapnet::output_conv", mutates_args=())
def output_conv(x: Tensor, weight: Tensor, bias: Tensor, image: Tensor) -> Tensor:
    """image + x * w + b, zero-padded; nothing of it is rounded to 16 bits.

    Args:
        x: [H, W, C], any H, W >= 1; C is 32 or 64. float16, bfloat16 or float32.
        weight: [9, C, 16] of `output_weight`, x's dtype.
        bias: [16] float32, the same way.
        image: [3, H, W] float32.

    Returns:
        [3, H, W] float32, not clamped.
    """
    return launch(chosen("output_conv", TILES, x, 3, 1), x, weight, bias, image)


@output_conv.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, image: Tensor) -> Tensor:
    return image.new_empty(image.shape)


def output_weight(weight: Tensor) -> Tensor:
    """The kernel's weight [9, C, 16] from [3, C, 3, 3], or bias [16] from [3]: zeros behind."""
    columns = conv_weight(weight) if weight.dim() == 4 else weight
    return functional.pad(columns, (0, _COLUMNS - len(weight)))


def output_conv_reference(x: Tensor, weight: Tensor, bias: Tensor, image: Tensor) -> Tensor:
    """The same in PyTorch's own operators, in the dtype of its arguments."""
    change = convolved(x, weight, 1) + bias
    return image + change[..., :3].permute(2, 0, 1)
