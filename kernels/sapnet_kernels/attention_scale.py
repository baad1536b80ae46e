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

# Values in registers at once: the partials that are added together, times their 9 C columns, and as
# many of the weights. Twice as many of these spill with Triton 3.6.
_VALUES = 8192
_WARPS = 16
# Rows of A W of which each thread has four values side by side, as of all else: no exchange between
# threads waits for them.
_NECK = 4


@triton.jit
def _outputs(
    heads,
    heads_bias,
    expand,
    first,
    squeezed,
    CHANNELS: tl.constexpr,
    SQUEEZED: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Of ROWS channels from `first` on: rows of K W, of K b and of B."""
    channel = first + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)[None, :]
    narrow = tl.arange(0, SQUEEZED)[None, :]
    skip = heads + channel[:, None] * (9 * CHANNELS) + column
    widen = expand + channel[:, None] * squeezed + narrow
    return (
        tl.load(skip, mask=column < 9 * CHANNELS, other=0.0),
        tl.load(heads_bias + channel),
        tl.load(widen, mask=narrow < squeezed, other=0.0),
    )


@triton.jit(do_not_specialize=["partials", "pixels"])
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
    WIDTH: tl.constexpr,
    PARTIALS: tl.constexpr,
    ROWS: tl.constexpr,
):
    # A single program lives by loads in flight: nothing is added across threads before all of
    # them are on their way, the weights' before the sums'.
    column = tl.arange(0, WIDTH)[None, :]
    seen = column < 9 * CHANNELS
    narrow = tl.arange(0, SQUEEZED)
    real = narrow < squeezed
    row = CHANNELS + narrow
    place = row[:, None] * (9 * CHANNELS) + column
    squeeze = tl.load(heads + place, mask=real[:, None] & seen, other=0.0)
    neck = tl.load(heads_bias + row, mask=real, other=0.0)
    skip, b, widen = _outputs(
        heads, heads_bias, expand, 0, squeezed, CHANNELS, SQUEEZED, WIDTH, ROWS
    )

    total = tl.zeros((PARTIALS, WIDTH), tl.float32)
    for start in tl.range(0, partials, PARTIALS, loop_unroll_factor=4):
        partial = (start + tl.arange(0, PARTIALS))[:, None]
        there = (partial < partials) & seen
        total += tl.load(sums + partial * (9 * CHANNELS) + column, mask=there, other=0.0)
    mean = (tl.sum(total, axis=0) / pixels)[None, :]
    neck = tl.maximum(neck + tl.sum(squeeze * mean, axis=1), 0.0)[None, :]

    for first in tl.static_range(0, CHANNELS, ROWS):
        if first > 0:
            skip, b, widen = _outputs(
                heads, heads_bias, expand, first, squeezed, CHANNELS, SQUEEZED, WIDTH, ROWS
            )
        logits = b + tl.sum(skip * mean, axis=1) + tl.sum(widen * neck, axis=1)
        tl.store(scale + first + tl.arange(0, ROWS), tl.sigmoid(logits))


def launch(sums: Tensor, heads: Tensor, heads_bias: Tensor, expand: Tensor, pixels: int) -> Tensor:
    """`attention_scale`."""
    channels, squeezed = expand.shape
    scale = sums.new_empty(channels)
    width = triton.next_power_of_2(9 * channels)
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
            SQUEEZED=max(_NECK, triton.next_power_of_2(squeezed)),
            WIDTH=width,
            PARTIALS=_VALUES // width,
            ROWS=_VALUES // width,
            num_warps=_WARPS,
        )
    return scale


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
    return launch(sums, heads, heads_bias, expand, pixels)


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
