"""The derained frame of the network with a memory: the frame, a change, and what it trusts.

Shapes: H height, W width, h and w half of them; S statistics of the past.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

_BLOCK = 256


@triton.jit
def _video_output_kernel(
    x,
    frame,
    past,
    output,
    height,
    width,
    CHANNELS: tl.constexpr,
    STATISTICS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    y = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    size = tl.cast(height, tl.int64) * width
    inside = column < width
    for row in tl.static_range(2):
        offset = (2 * y + row) * width + column
        # Of each channel four values, one per pixel.
        change = x + (y * (width // 2) + column // 2) * CHANNELS + 2 * row + column % 2
        logits = change + 4 * 3
        most = tl.load(logits, mask=inside, other=0.0).to(tl.float32)
        for number in tl.static_range(1, STATISTICS + 1):
            logit = tl.load(logits + 4 * number, mask=inside, other=0.0).to(tl.float32)
            most = tl.maximum(most, logit)
        total = tl.exp(tl.load(logits, mask=inside, other=0.0).to(tl.float32) - most)
        red = tl.zeros((BLOCK,), tl.float32)
        green = tl.zeros((BLOCK,), tl.float32)
        blue = tl.zeros((BLOCK,), tl.float32)
        for number in tl.static_range(STATISTICS):
            logit = tl.load(logits + 4 * (number + 1), mask=inside, other=0.0).to(tl.float32)
            trust = tl.exp(logit - most)
            total += trust
            recalled = past + 3 * number * size + offset
            red += trust * tl.load(recalled, mask=inside, other=0.0)
            green += trust * tl.load(recalled + size, mask=inside, other=0.0)
            blue += trust * tl.load(recalled + 2 * size, mask=inside, other=0.0)
        _add(frame, change, red / total, output, offset, inside)
        _add(frame + size, change + 4, green / total, output + size, offset, inside)
        _add(frame + 2 * size, change + 8, blue / total, output + 2 * size, offset, inside)


@triton.jit
def _add(frame, change, recalled, output, offset, inside):
    """Write one colour: frame + change + recalled."""
    value = tl.load(frame + offset, mask=inside, other=0.0) + recalled
    value += tl.load(change, mask=inside, other=0.0).to(tl.float32)
    tl.store(output + offset, value, mask=inside)


def launch(x: Tensor, frame: Tensor, past: Tensor, statistics: int) -> Tensor:
    """`video_output`."""
    _, height, width = frame.shape
    output = torch.empty_like(frame, memory_format=torch.contiguous_format)
    with torch.cuda.device_of(x):
        _video_output_kernel[(height // 2, triton.cdiv(width, _BLOCK))](
            x.contiguous(),
            frame.contiguous(),
            past.contiguous(),
            output,
            height,
            width,
            CHANNELS=x.shape[2],
            STATISTICS=statistics,
            BLOCK=_BLOCK,
        )
    return output


@torch.library.custom_op("sapnet::video_output", mutates_args=())
def video_output(x: Tensor, frame: Tensor, past: Tensor, statistics: int) -> Tensor:
    """frame + change + the sum of each statistic by the trust in it, a softmax.

    Args:
        x: [h, w, C], float16, bfloat16 or float32. Of 2x2 pixels each in turn, channel by
            channel: a change in R'G'B', then the logits of trusting nothing and each statistic;
            what is behind those is left alone.
        frame: [3, H, W] float32, any even H and W.
        past: [P, H, W] float32: the statistics minus `frame`, R'G'B' each; P is 3 S or more.
        statistics: S.

    Returns:
        [3, H, W] float32, not clamped.
    """
    return launch(x, frame, past, statistics)


@video_output.register_fake
def _(x: Tensor, frame: Tensor, past: Tensor, statistics: int) -> Tensor:
    return frame.new_empty(frame.shape)


def video_output_reference(x: Tensor, frame: Tensor, past: Tensor, statistics: int) -> Tensor:
    """The same in PyTorch's own operators, in the dtype of its arguments."""
    channels = 3 + 1 + statistics
    x = functional.pixel_shuffle(x[..., : 4 * channels].permute(2, 0, 1), 2)
    trust = x[3:].softmax(0)[1:, None]
    recalled = past[: 3 * statistics].unflatten(0, (statistics, 3))
    output: Tensor = frame + x[:3] + (trust * recalled).sum(0)
    return output
