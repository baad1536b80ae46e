"""The first convolution of the six-stage network: two RGB images to C channels, 3x3, ReLU.

It reads float32 planes, as images are kept, and gathers the 54 values that a pixel sees into one
row, so that the convolution is one product of matrices.

Shapes: H height, W width, C channels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sapnet_kernels.fused_dilated_conv import conv_weight, convolved
from sapnet_kernels.product import product
from sapnet_kernels.tile import Tile, store_tile, tile_pixels
from sapnet_kernels.tuning import chosen

# Loading tiles ahead would take the shared memory of ten images of a tile.
TILES = [
    Tile(4, 16, warps=4, stages=1, programs_per_sm=2),
    Tile(8, 16, warps=8, stages=1, programs_per_sm=1),
    Tile(4, 16, warps=4, stages=1, programs_per_sm=2, descriptors=False),
    Tile(8, 16, warps=8, stages=1, programs_per_sm=1, descriptors=False),
]
# 9 taps x 6 channels, up to a power of two.
_SEEN = 64


@triton.jit
def _entry_conv_kernel(
    image,
    estimate,
    weight,
    bias,
    y,
    height,
    width,
    CHANNELS: tl.constexpr,
    SEEN: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    seen = tl.arange(0, SEEN)
    channel = tl.arange(0, CHANNELS)
    w = tl.load(weight + seen[:, None] * CHANNELS + channel[None, :])
    b = tl.load(bias + channel)
    plane = seen % 6
    tap = seen // 6
    across = tl.cdiv(width, COLUMNS)
    tiles = tl.cdiv(height, ROWS) * across
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), num_stages=STAGES):
        row, column = tile_pixels(tile, width, ROWS, COLUMNS)
        row = row[:, None] + (tap // 3 - 1)[None, :]
        column = column[:, None] + (tap % 3 - 1)[None, :]
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        inside &= (tap < 9)[None, :]
        offset = ((plane % 3).to(tl.int64)[None, :] * height + row) * width + column
        of_image = (plane < 3)[None, :]
        values = tl.load(image + offset, mask=inside & of_image, other=0.0)
        values += tl.load(estimate + offset, mask=inside & (plane >= 3)[None, :], other=0.0)
        total = tl.zeros((ROWS * COLUMNS, CHANNELS), tl.float32)
        total = product(values.to(weight.dtype.element_ty), w, total)
        value = tl.maximum(total + b[None, :], 0.0).to(weight.dtype.element_ty)
        top = tile // across * ROWS
        left = tile % across * COLUMNS
        store_tile(y, value, top, left, height, width, CHANNELS, ROWS, COLUMNS, DESCRIPTORS)


def launch(tile: Tile, image: Tensor, estimate: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`entry_conv` by `tile`."""
    height, width = image.shape[1:]
    y = weight.new_empty(height, width, weight.shape[1])
    with torch.cuda.device_of(image):
        _entry_conv_kernel[(tile.programs(y),)](
            image.contiguous(),
            estimate.contiguous(),
            weight.contiguous(),
            bias.contiguous(),
            tile.block(y),
            height,
            width,
            CHANNELS=weight.shape[1],
            SEEN=_SEEN,
            **tile.options(),
        )
    return y


@torch.library.custom_op("sapnet::entry_conv", mutates_args=())
def entry_conv(image: Tensor, estimate: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu([image, estimate] * w + b), zero-padded.

    Args:
        image, estimate: [3, H, W] float32, any H, W >= 1.
        weight: [64, C] of `entry_weight`; C is 32 or 64. float16, bfloat16 or float32.
        bias: [C] float32.

    Returns:
        [H, W, C] in the dtype of `weight`, to which the images are rounded first.
    """
    # Tuned for what it writes; of its input only the size matters.
    tile = chosen("entry_conv", TILES, image.permute(1, 2, 0), 1)
    return launch(tile, image, estimate, weight, bias)


@entry_conv.register_fake
def _(image: Tensor, estimate: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return weight.new_empty(image.shape[1], image.shape[2], weight.shape[1])


def entry_weight(weight: Tensor) -> Tensor:
    """[64, C] for the kernel from [C, 6, 3, 3]: rows (ky, kx, channel), zeros below."""
    rows = conv_weight(weight).flatten(0, 1)
    return torch.cat((rows, rows.new_zeros(_SEEN - len(rows), rows.shape[1])))


def entry_conv_reference(image: Tensor, estimate: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same in PyTorch's own operators, in the dtype of its arguments."""
    x = torch.cat((image, estimate)).permute(1, 2, 0)
    return (convolved(x, weight[:54].unflatten(0, (9, 6)), 1) + bias).relu()
