"""The scales of a channel attention before the convolution that it follows has run.

    y = W T / (H W) + b,   s = sigmoid(K y + B relu(A y))

T are the sums that the convolution's nine taps will see (`tap_sums`), y the global average of
its output. K W, A W, K b and A b are constants, so the average itself is never formed. One
program: all of it is a few hundred kilobytes, and a frame has sixty of them.

Shapes: C channels, R of the bottleneck, P partials; H height and W width of the frame.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

# Partials taken in at once; additions of one are in a fixed order, and those of blocks too.
_PARTIALS = 64
_WARPS = 8


@triton.jit
def _attention_scale_kernel(
    sums,
    heads,
    heads_bias,
    expand,
    scale,
    partials,
    pixels,
    squeezed,
    CHANNELS: tl.constexpr,
    SQUEEZED: tl.constexpr,
    PARTIALS: tl.constexpr,
):
    channel = tl.arange(0, CHANNELS)
    narrow = tl.arange(0, SQUEEZED)
    real = narrow < squeezed
    skip = tl.load(heads_bias + channel)
    neck = tl.load(heads_bias + CHANNELS + narrow, mask=real, other=0.0)
    for tap in tl.range(9):
        column = tap * CHANNELS + channel
        total = tl.zeros((CHANNELS,), tl.float32)
        for start in tl.range(0, partials, PARTIALS):
            row = start + tl.arange(0, PARTIALS)
            pointers = sums + row[:, None] * (9 * CHANNELS) + column[None, :]
            total += tl.sum(tl.load(pointers, mask=(row < partials)[:, None], other=0.0), axis=0)
        mean = (total / pixels)[None, :]
        row = channel[:, None] * (9 * CHANNELS)
        skip += tl.sum(tl.load(heads + row + column[None, :]) * mean, axis=1)
        row = (CHANNELS + narrow)[:, None] * (9 * CHANNELS)
        weights = tl.load(heads + row + column[None, :], mask=real[:, None], other=0.0)
        neck += tl.sum(weights * mean, axis=1)
    pointers = expand + channel[:, None] * squeezed + narrow[None, :]
    weights = tl.load(pointers, mask=real[None, :], other=0.0)
    logits = skip + tl.sum(weights * tl.maximum(neck, 0.0)[None, :], axis=1)
    tl.store(scale + channel, tl.sigmoid(logits))


@torch.library.custom_op("sapnet::attention_scale", mutates_args=())
def attention_scale(
    sums: Tensor, heads: Tensor, heads_bias: Tensor, expand: Tensor, pixels: int
) -> Tensor:
    """Scales [C] float32 in (0, 1) for the convolution that reads the frame behind `sums`.

    Args:
        sums: partials [P, 9, C] float32, as `fused_dilated_conv` or `conv_lstm_cell` leave.
        heads: K W above A W, [C + R, 9 C] float32; columns in the order (ky, kx, C).
        heads_bias: K b and A b, [C + R] float32.
        expand: B, [C, R] float32.
        pixels: H W.

    No value travels to the host, and equal inputs give equal bits.
    """
    channels, squeezed = expand.shape
    scale = sums.new_empty(channels)
    with torch.cuda.device_of(sums):
        _attention_scale_kernel[(1,)](
            sums.contiguous(),
            heads.contiguous(),
            heads_bias.contiguous(),
            expand.contiguous(),
            scale,
            sums.shape[0],
            pixels,
            squeezed,
            CHANNELS=channels,
            SQUEEZED=triton.next_power_of_2(squeezed),
            PARTIALS=_PARTIALS,
            num_warps=_WARPS,
        )
    return scale


@attention_scale.register_fake
def _(sums: Tensor, heads: Tensor, heads_bias: Tensor, expand: Tensor, pixels: int) -> Tensor:
    return sums.new_empty(expand.shape[0])


def attention_scale_reference(
    sums: Tensor, heads: Tensor, heads_bias: Tensor, expand: Tensor, pixels: int
) -> Tensor:
    """The same in PyTorch's own operators, in the dtype of its arguments."""
    means = sums.sum(0).flatten() / pixels
    skip, neck = (heads @ means + heads_bias).tensor_split([expand.shape[0]])
    return torch.sigmoid(skip + expand @ neck.relu())
