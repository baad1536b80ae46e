"""A 3x3 convolution that reads each row of its input once, not thrice.

A program walks down a strip of the frame, PIXELS wide, in steps of the dilation: row by row it
meets the three inputs of every output in turn. Each row it loads, at its three columns of taps,
is multiplied for three outputs at once: the one `dilation` rows above is finished, that of the
row itself and the one below are begun, and their sums stay in registers.

A strip is one of `dilation` phases of rows and PIXELS columns. It has one step before its first
row and one behind its last, on rows of zeros beyond the frame: so strip follows strip without a
case of its own, and the steps of all strips are shared out evenly among the programs. A program
begins two steps early, to have the sums of its first output.
"""

import triton
import triton.language as tl

from sapnet_kernels.product import product
from sapnet_kernels.tile import load_tile


@triton.jit
def share(height, width, dilation, PIXELS: tl.constexpr):
    """The steps of this program, first and behind the last."""
    strips = tl.minimum(dilation, height) * tl.cdiv(width, PIXELS)
    steps = strips * (tl.cdiv(height, dilation) + 2)
    each = tl.cdiv(steps, tl.num_programs(0))
    first = tl.program_id(0) * each
    return first, tl.minimum(first + each, steps)


@triton.jit
def place(step, height, dilation, PIXELS: tl.constexpr):
    """Row and first column of what a step reads; the row may be beyond the frame."""
    steps = tl.cdiv(height, dilation) + 2
    phases = tl.minimum(dilation, height)
    strip = step // steps
    row = (step % steps - 1) * dilation + strip % phases
    return row, strip // phases * PIXELS


@triton.jit
def span(height, dilation):
    """Rows from the first step of a strip to the first of the next phase of rows."""
    return (tl.cdiv(height, dilation) + 2) * dilation


@triton.jit
def following(row, left, height, dilation, span, PIXELS: tl.constexpr):
    """What `place` gives for the step after the one at (row, left), without a division."""
    row += dilation
    over = row >= span - dilation
    row = tl.where(over, row - span + 1, row)
    around = over & (row + dilation >= tl.minimum(dilation, height))
    return tl.where(around, -dilation, row), tl.where(around, left + PIXELS, left)


@triton.jit
def load_weights(weight, block, SIZE: tl.constexpr):
    """Of each of nine taps the matrix at the offsets `block` of `weight`, SIZE values apart."""
    return (
        tl.load(weight + 0 * SIZE + block),
        tl.load(weight + 1 * SIZE + block),
        tl.load(weight + 2 * SIZE + block),
        tl.load(weight + 3 * SIZE + block),
        tl.load(weight + 4 * SIZE + block),
        tl.load(weight + 5 * SIZE + block),
        tl.load(weight + 6 * SIZE + block),
        tl.load(weight + 7 * SIZE + block),
        tl.load(weight + 8 * SIZE + block),
    )


@triton.jit
def step_on(
    done,
    here,
    below,
    x,
    row,
    left,
    weight,
    weights,
    block,
    height,
    width,
    dilation,
    CHANNELS_IN: tl.constexpr,
    SIZE: tl.constexpr,
    PIXELS: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
    RESIDENT: tl.constexpr,
):
    """What the tile of `x` at (row, left) adds to the outputs above it, beside it and below.

    `weights` is what `load_weights` gave of the other arguments, or, unless RESIDENT, None.
    """
    for tap in tl.static_range(3):
        column = left + (tap - 1) * dilation
        seen = load_tile(x, row, column, height, width, CHANNELS_IN, PIXELS, DESCRIPTORS)
        if RESIDENT:
            done = product(seen, weights[6 + tap], done)
            here = product(seen, weights[3 + tap], here)
            below = product(seen, weights[tap], below)
        else:
            done = product(seen, tl.load(weight + (6 + tap) * SIZE + block), done)
            here = product(seen, tl.load(weight + (3 + tap) * SIZE + block), here)
            below = product(seen, tl.load(weight + tap * SIZE + block), below)
    return done, here, below
