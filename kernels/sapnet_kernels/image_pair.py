"""An image as a stage of the six-stage network sees it: beside itself, pixel by pixel.

Shapes: H height, W width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

CHANNELS = 16
"""Of a pair: two images, and zeros up to what tensor cores take."""
_BLOCK = 128


@triton.jit
def _image_pair_kernel(image, pair, height, width, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    y = tl.program_id(0).to(tl.int64)
    column = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK))[:, None]
    channel = tl.arange(0, CHANNELS)[None, :]
    size = tl.cast(height, tl.int64) * width
    pixel = y * width + column
    inside = column < width
    value = tl.load(image + channel % 3 * size + pixel, mask=inside & (channel < 6), other=0.0)
    tl.store(pair + pixel * CHANNELS + channel, value.to(pair.dtype.element_ty), mask=inside)


def launch(image: Tensor, dtype: torch.dtype) -> Tensor:
    """`image_pair`."""
    _, height, width = image.shape
    pair = image.new_empty(height, width, CHANNELS, dtype=dtype)
    with torch.cuda.device_of(image):
        _image_pair_kernel[(height, triton.cdiv(width, _BLOCK))](
            image.contiguous(), pair, height, width, CHANNELS=CHANNELS, BLOCK=_BLOCK
        )
    return pair


@torch.library.custom_op("sapnet::image_pair", mutates_args=())
def image_pair(image: Tensor, dtype: torch.dtype) -> Tensor:
    """[H, W, 16] in `dtype` of [3, H, W] float32: R'G'B' twice, then zeros; any H, W >= 1."""
    return launch(image, dtype)


@image_pair.register_fake
def _(image: Tensor, dtype: torch.dtype) -> Tensor:
    return image.new_empty(image.shape[1], image.shape[2], CHANNELS, dtype=dtype)


def image_pair_reference(image: Tensor) -> Tensor:
    """The same in PyTorch's own operators, in the dtype of its argument."""
    pixels = image.permute(1, 2, 0).repeat(1, 1, 2)
    return functional.pad(pixels, (0, CHANNELS - 6))
