"""What the network with a memory sees of a frame: 2x2 pixels of all planes become channels.

Shapes: H height, W width, h and w half of them; P planes of the past.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

_BLOCK = 128


@triton.jit
def _video_input_kernel(
    frame, past, seen, x, height, width, PLANES: tl.constexpr, BLOCK: tl.constexpr
):
    y = tl.program_id(0).to(tl.int64)
    column = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK))[:, None]
    plane = tl.arange(0, PLANES)[None, :]
    size = tl.cast(height, tl.int64) * width
    inside = column < width
    for row in tl.static_range(2):
        offset = (2 * y + row) * width + column
        rgb = tl.load(frame + plane * size + offset, mask=inside & (plane < 3), other=0.0)
        between = inside & (plane >= 3) & (plane < PLANES - 1)
        value = tl.load(past + (plane - 3) * size + offset, mask=between, other=0.0)
        value += tl.load(seen + offset + 0 * plane, mask=inside & (plane == PLANES - 1), other=0.0)
        value = tl.where(plane < 3, rgb - 0.5, value)
        pair = 2 * (y * (width // 2) + column // 2) + row
        place = 2 * (pair * PLANES + plane) + column % 2
        tl.store(x + place, value.to(x.dtype.element_ty), mask=inside)


def launch(frame: Tensor, past: Tensor, seen: Tensor, dtype: torch.dtype) -> Tensor:
    """`video_input`."""
    _, height, width = frame.shape
    planes = 3 + past.shape[0] + 1
    x = frame.new_empty(height // 2, width // 2, 4 * planes, dtype=dtype)
    with torch.cuda.device_of(frame):
        _video_input_kernel[(height // 2, triton.cdiv(width, _BLOCK))](
            frame.contiguous(),
            past.contiguous(),
            seen.contiguous(),
            x,
            height,
            width,
            PLANES=planes,
            BLOCK=_BLOCK,
        )
    return x


@torch.library.custom_op("sapnet::video_input", mutates_args=())
def video_input(frame: Tensor, past: Tensor, seen: Tensor, dtype: torch.dtype) -> Tensor:
    """The planes frame - 0.5, past and seen; of each row of 2x2 pixels, pairs of all of them.

    Args:
        frame: [3, H, W] float32, any even H and W.
        past: [P, H, W] float32; P + 4 is a power of two.
        seen: [1, H, W] float32.
        dtype: of the result.

    Returns:
        [h, w, 4 (P + 4)].
    """
    return launch(frame, past, seen, dtype)


@video_input.register_fake
def _(frame: Tensor, past: Tensor, seen: Tensor, dtype: torch.dtype) -> Tensor:
    _, height, width = frame.shape
    return frame.new_empty(height // 2, width // 2, 4 * (past.shape[0] + 4), dtype=dtype)


def video_input_reference(frame: Tensor, past: Tensor, seen: Tensor) -> Tensor:
    """The same in PyTorch's own operators, in the dtype of its arguments."""
    planes = torch.cat((frame - 0.5, past, seen))
    x: Tensor = functional.pixel_unshuffle(planes, 2).unflatten(0, (len(planes), 2, 2))
    return x.permute(3, 4, 1, 0, 2).flatten(2)
