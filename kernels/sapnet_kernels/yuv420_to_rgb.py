"""Planes of Y'CbCr 4:2:0 to R'G'B': chroma repeated, colours outside RGB clipped.

Equations: ITU-T H.273 section 8.3. Shapes: H height, W width; chroma planes are half of both,
rounded up.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 256


def code_range(bits: int, full_range: bool) -> tuple[float, float, float]:
    """Code of black, and the codes that full luma and full chroma swing span."""
    if full_range:
        most = float(2**bits - 1)
        return 0.0, most, most
    unit = 2.0 ** (bits - 8)
    return 16 * unit, 219 * unit, 224 * unit


@triton.jit
def _yuv420_to_rgb_kernel(
    luma,
    cb,
    cr,
    rgb,
    height,
    width,
    black,
    grey,
    luma_scale,
    red_from_cr,
    green_from_cb,
    green_from_cr,
    blue_from_cb,
    BLOCK: tl.constexpr,
):
    y = tl.program_id(0).to(tl.int64)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = x < width
    small = y // 2 * ((width + 1) // 2) + x // 2
    light = tl.load(luma + y * width + x, mask=inside, other=0).to(tl.float32)
    light = (light - black) * luma_scale
    blue = tl.load(cb + small, mask=inside, other=0).to(tl.float32) - grey
    red = tl.load(cr + small, mask=inside, other=0).to(tl.float32) - grey
    plane = tl.cast(height, tl.int64) * width
    pointers = rgb + y * width + x
    value = light + red_from_cr * red
    tl.store(pointers, tl.minimum(tl.maximum(value, 0.0), 1.0), mask=inside)
    value = light - green_from_cb * blue - green_from_cr * red
    tl.store(pointers + plane, tl.minimum(tl.maximum(value, 0.0), 1.0), mask=inside)
    value = light + blue_from_cb * blue
    tl.store(pointers + 2 * plane, tl.minimum(tl.maximum(value, 0.0), 1.0), mask=inside)


def launch(
    luma: Tensor, cb: Tensor, cr: Tensor, kr: float, kb: float, bits: int, full_range: bool
) -> Tensor:
    """`yuv420_to_rgb`."""
    height, width = luma.shape
    rgb = luma.new_empty(3, height, width, dtype=torch.float32)
    black, luma_codes, chroma_codes = code_range(bits, full_range)
    kg = 1 - kr - kb
    red, blue = 2 * (1 - kr) / chroma_codes, 2 * (1 - kb) / chroma_codes
    with torch.cuda.device_of(luma):
        _yuv420_to_rgb_kernel[(height, triton.cdiv(width, _BLOCK))](
            luma.contiguous(),
            cb.contiguous(),
            cr.contiguous(),
            rgb,
            height,
            width,
            black,
            2.0 ** (bits - 1),
            1 / luma_codes,
            red,
            kb / kg * blue,
            kr / kg * red,
            blue,
            BLOCK=_BLOCK,
        )
    return rgb


@torch.library.custom_op("sapnet::yuv420_to_rgb", mutates_args=())
def yuv420_to_rgb(
    luma: Tensor, cb: Tensor, cr: Tensor, kr: float, kb: float, bits: int, full_range: bool
) -> Tensor:
    """[3, H, W] float32 R'G'B' in [0, 1] of planes of Y'CbCr.

    Args:
        luma: [H, W] uint8, or uint16 for more than 8 bits; any H, W >= 1.
        cb, cr: [ceil(H / 2), ceil(W / 2)], the same way.
        kr, kb: weights of R' and B' in Y', as 0.299 and 0.114 of BT.601.
        bits: per sample, 8 to 16.
        full_range: black and white are the lowest and highest code, not 16 and 235 (times 2 to
            the power of bits - 8).
    """
    return launch(luma, cb, cr, kr, kb, bits, full_range)


@yuv420_to_rgb.register_fake
def _(
    luma: Tensor, cb: Tensor, cr: Tensor, kr: float, kb: float, bits: int, full_range: bool
) -> Tensor:
    return luma.new_empty(3, *luma.shape, dtype=torch.float32)


def yuv420_to_rgb_reference(
    luma: Tensor, cb: Tensor, cr: Tensor, kr: float, kb: float, bits: int, full_range: bool
) -> Tensor:
    """The same in PyTorch's own operators, in float64."""
    black, luma_codes, chroma_codes = code_range(bits, full_range)
    light = (luma.double() - black) / luma_codes
    height, width = luma.shape
    blue, red = (
        ((plane.double() - 2 ** (bits - 1)) / chroma_codes)
        .repeat_interleave(2, 0)
        .repeat_interleave(2, 1)[:height, :width]
        for plane in (cb, cr)
    )
    red, blue = 2 * (1 - kr) * red, 2 * (1 - kb) * blue
    green = -(kr * red + kb * blue) / (1 - kr - kb)
    return torch.stack((light + red, light + green, light + blue)).clamp(0, 1)
