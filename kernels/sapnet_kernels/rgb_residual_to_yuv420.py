"""A change in R'G'B' added to the planes of Y'CbCr 4:2:0 that it was computed from.

Only the change is converted, by the matrix alone: where it is zero the samples stay bit for bit,
and codes outside RGB survive. Chroma takes the average change of its pixels.

Equations: ITU-T H.273 section 8.3. Shapes: H height, W width; chroma planes are half of both,
rounded up.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from sapnet_kernels.yuv420_to_rgb import code_range

_BLOCK = 128


@triton.jit
def _add_code(plane, changed, offset, delta, most, inside):
    """Write plane + delta, rounded half to even and held in the code range."""
    code = tl.load(plane + offset, mask=inside, other=0).to(tl.float32) + delta
    code = tl.minimum(tl.maximum(code, 0.0), most)
    # Floats this large are whole numbers.
    code = (code + 12582912.0) - 12582912.0
    tl.store(changed + offset, code.to(changed.dtype.element_ty), mask=inside)


@triton.jit
def _luma_change(change, luma, new_luma, y, x, height, width, plane, kr, kg, kb, most, inside):
    """Change one pixel of each chroma sample; return its R', G', B', those of the edge beyond."""
    inside &= (y < height) & (x < width)
    offset = tl.minimum(y, height - 1) * width + tl.minimum(x, width - 1)
    red = tl.load(change + offset)
    green = tl.load(change + plane + offset)
    blue = tl.load(change + 2 * plane + offset)
    _add_code(luma, new_luma, offset, red * kr + green * kg + blue * kb, most, inside)
    return red, green, blue


@triton.jit
def _rgb_residual_to_yuv420_kernel(
    change,
    luma,
    cb,
    cr,
    new_luma,
    new_cb,
    new_cr,
    height,
    width,
    kr,
    kg,
    kb,
    cb_from_red,
    cb_from_green,
    cb_from_blue,
    cr_from_red,
    cr_from_green,
    cr_from_blue,
    most,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    across = (width + 1) // 2
    inside = column < across
    plane = tl.cast(height, tl.int64) * width
    y = 2 * row
    x = 2 * column
    r, g, b = _luma_change(
        change, luma, new_luma, y, x, height, width, plane, kr, kg, kb, most, inside
    )
    for corner in tl.static_range(1, 4):
        red, green, blue = _luma_change(
            change,
            luma,
            new_luma,
            y + corner // 2,
            x + corner % 2,
            height,
            width,
            plane,
            kr,
            kg,
            kb,
            most,
            inside,
        )
        r += red
        g += green
        b += blue
    small = row * across + column
    delta = r * cb_from_red + g * cb_from_green + b * cb_from_blue
    _add_code(cb, new_cb, small, delta, most, inside)
    delta = r * cr_from_red + g * cr_from_green + b * cr_from_blue
    _add_code(cr, new_cr, small, delta, most, inside)


def launch(
    change: Tensor,
    luma: Tensor,
    cb: Tensor,
    cr: Tensor,
    kr: float,
    kb: float,
    bits: int,
    full_range: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`rgb_residual_to_yuv420`."""
    height, width = luma.shape
    luma, cb, cr = luma.contiguous(), cb.contiguous(), cr.contiguous()
    new_luma, new_cb, new_cr = (torch.empty_like(plane) for plane in (luma, cb, cr))
    rows = ycbcr_from_rgb(kr, kb, bits, full_range)
    weights = [*rows[0], *(weight / 4 for row in rows[1:] for weight in row)]
    grid = (triton.cdiv(height, 2), triton.cdiv(triton.cdiv(width, 2), _BLOCK))
    with torch.cuda.device_of(luma):
        _rgb_residual_to_yuv420_kernel[grid](
            change.contiguous(),
            luma,
            cb,
            cr,
            new_luma,
            new_cb,
            new_cr,
            height,
            width,
            *weights,
            2.0**bits - 1,
            BLOCK=_BLOCK,
        )
    return new_luma, new_cb, new_cr


@torch.library.custom_op("sapnet::rgb_residual_to_yuv420", mutates_args=())
def rgb_residual_to_yuv420(
    change: Tensor,
    luma: Tensor,
    cb: Tensor,
    cr: Tensor,
    kr: float,
    kb: float,
    bits: int,
    full_range: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Planes like `luma`, `cb` and `cr` with a change in R'G'B' added.

    Args:
        change: [3, H, W] float32.
        luma, cb, cr, kr, kb, bits, full_range: as for `yuv420_to_rgb`.

    Returns:
        Codes rounded half to even and held between 0 and 2 to the power of `bits`, less 1.
    """
    return launch(change, luma, cb, cr, kr, kb, bits, full_range)


@rgb_residual_to_yuv420.register_fake
def _(
    change: Tensor,
    luma: Tensor,
    cb: Tensor,
    cr: Tensor,
    kr: float,
    kb: float,
    bits: int,
    full_range: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return luma.new_empty(luma.shape), cb.new_empty(cb.shape), cr.new_empty(cr.shape)


def ycbcr_from_rgb(
    kr: float, kb: float, bits: int, full_range: bool
) -> list[tuple[float, float, float]]:
    """Rows Y', Cb, Cr over columns R', G', B', in codes."""
    _, luma, chroma = code_range(bits, full_range)
    kg = 1 - kr - kb
    blue, red = chroma / 2 / (1 - kb), chroma / 2 / (1 - kr)
    return [
        (kr * luma, kg * luma, kb * luma),
        (-kr * blue, -kg * blue, chroma / 2),
        (chroma / 2, -kg * red, -kb * red),
    ]


def rgb_residual_to_yuv420_reference(
    change: Tensor,
    luma: Tensor,
    cb: Tensor,
    cr: Tensor,
    kr: float,
    kb: float,
    bits: int,
    full_range: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in PyTorch's own operators, in float64, codes not rounded yet."""
    change = change.double()
    edges = (0, luma.shape[1] % 2, 0, luma.shape[0] % 2)
    small = functional.avg_pool2d(functional.pad(change[None], edges, mode="replicate"), 2)[0]
    changed = []
    rows = ycbcr_from_rgb(kr, kb, bits, full_range)
    for plane, rgb, row in zip((luma, cb, cr), (change, small, small), rows, strict=True):
        delta = torch.einsum("c,chw->hw", torch.tensor(row).to(rgb), rgb)
        changed.append((plane.double() + delta).clamp(0, 2**bits - 1))
    return changed[0], changed[1], changed[2]
