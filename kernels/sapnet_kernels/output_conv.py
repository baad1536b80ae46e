"""The last convolution of a stage: C channels to RGB, 3x3, added to the rainy image.

Shapes: H height, W width, C channels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from sapnet_kernels.fused_dilated_conv import conv_weight, convolved
from sapnet_kernels.product import product
from sapnet_kernels.tile import Tile, load_tile, tile_pixels
from sapnet_kernels.tuning import chosen

TILES = [
    Tile(8, 16, warps=4, programs_per_sm=4),
    Tile(16, 16, warps=8, programs_per_sm=2),
    Tile(8, 16, warps=4, programs_per_sm=4, descriptors=False),
    Tile(16, 16, warps=8, programs_per_sm=2, descriptors=False),
]
# RGB up to what tensor cores take.
_COLUMNS = 16


@triton.jit
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
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    output = tl.arange(0, OUTPUTS)
    b = tl.load(bias + output)
    weight += tl.arange(0, CHANNELS)[:, None] * OUTPUTS + output[None, :]
    across = tl.cdiv(width, COLUMNS)
    tiles = tl.cdiv(height, ROWS) * across
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0)):
        top = tile // across * ROWS
        left = tile % across * COLUMNS
        change = tl.zeros((ROWS * COLUMNS, OUTPUTS), tl.float32)
        for tap in tl.range(9, num_stages=STAGES):
            y = top + tap // 3 - 1
            column = left + tap % 3 - 1
            seen = load_tile(x, y, column, height, width, CHANNELS, ROWS, COLUMNS, DESCRIPTORS)
            change = product(seen, tl.load(weight + tap * (CHANNELS * OUTPUTS)), change)
        row, column = tile_pixels(tile, width, ROWS, COLUMNS)
        offset = row[:, None] + output.to(tl.int64)[None, :] * height
        offset = offset * width + column[:, None]
        real = ((row < height) & (column < width))[:, None] & (output < 3)[None, :]
        change += b[None, :] + tl.load(image + offset, mask=real, other=0.0)
        tl.store(estimate + offset, change, mask=real)


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
    return launch(chosen("output_conv", TILES, x, 1), x, weight, bias, image)


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
