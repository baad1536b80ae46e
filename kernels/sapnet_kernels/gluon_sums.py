"""`tap_sums` for kernels written in Gluon."""

import triton.experimental.gluon.language as gl
from triton.experimental import gluon
from triton.experimental.gluon.language.nvidia.ampere import mma_v2


@gluon.constexpr_function
def sums_layout(warps):
    """Of the sums [16, C], whose columns four warps share out; more do the same again."""
    return gl.NVMMADistributedLayout(version=[2, 0], warps_per_cta=[1, warps], instr_shape=[16, 8])


@gluon.jit
def tap_sums(total, values, kept, row, left, height, width, dilation):
    """See `sapnet_kernels.tap_sums`; `total` has the layout `sums_layout`."""
    PIXELS: gl.constexpr = values.shape[0]
    wide: gl.constexpr = values.type.layout
    masks: gl.constexpr = gl.DotOperandLayout(0, total.type.layout, 2)
    x = left + gl.arange(0, PIXELS, gl.SliceLayout(1, wide))
    # Here and not in the mask: zero times an infinity beyond the frame would be no zero.
    values = gl.where((kept & (x < width))[:, None], values, 0.0).to(values.dtype)
    tap = gl.arange(0, 16, gl.SliceLayout(1, masks))[:, None]
    x = left + gl.arange(0, PIXELS, gl.SliceLayout(0, masks))[None, :]
    seen = (tap % 3 != 0) | (x < width - dilation)
    seen &= (tap % 3 != 2) | (x >= dilation)
    seen &= (tap // 3 != 0) | (row < height - dilation)
    seen &= (tap // 3 != 2) | (row >= dilation)
    seen = gl.where(seen, 1.0, 0.0).to(values.dtype)
    values = gl.convert_layout(values, gl.DotOperandLayout(1, total.type.layout, 2))
    return mma_v2(seen, values, total)


@gluon.jit
def store_sums(sums, total):
    """Write this program's [16, C] to its place in `sums` [P, 9, C]."""
    layout: gl.constexpr = total.type.layout
    CHANNELS: gl.constexpr = total.shape[1]
    tap = gl.arange(0, 16, gl.SliceLayout(1, layout))[:, None]
    channel = gl.arange(0, CHANNELS, gl.SliceLayout(0, layout))[None, :]
    place = (gl.program_id(0) * 9 + tap) * CHANNELS + channel
    gl.store(sums + place, total, mask=(tap < 9) & (channel >= 0))
