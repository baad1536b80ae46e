"""The way down the strips of a frame: step by step the same as from its beginning."""

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from sapnet_kernels.walk import following, place, span


@triton.jit(do_not_specialize=["first", "steps", "height", "dilation"])
def _walk_kernel(places, walked, first, steps, height, dilation):
    row, left = place(first, height, dilation, 64)
    rows = span(height, dilation)
    for step in tl.range(first, first + steps):
        offset = 2 * (step - first)
        straight_row, straight_left = place(step, height, dilation, 64)
        tl.store(places + offset, straight_row)
        tl.store(places + offset + 1, straight_left)
        tl.store(walked + offset, row)
        tl.store(walked + offset + 1, left)
        row, left = following(row, left, height, dilation, rows, 64)


def walk(first: int, steps: int, height: int, dilation: int, device: torch.device) -> list[Tensor]:
    """[steps, 2] each: where steps read, told by `place` and by `following`."""
    both = [torch.zeros(steps, 2, dtype=torch.int32, device=device) for _ in range(2)]
    _walk_kernel[(1,)](*both, first, steps, height, dilation)
    return both


@pytest.mark.parametrize(
    ("height", "dilation"), [(1, 1), (9, 1), (9, 2), (8, 4), (9, 4), (3, 4), (4, 4), (1, 16)]
)
def test_every_step_of_two_columns(height: int, dilation: int, device: torch.device) -> None:
    steps = 2 * min(height, dilation) * (-(-height // dilation) + 2)
    # A program begins two steps early, the first one before the frame's first step.
    places, walked = walk(-2, steps + 2, height, dilation, device)
    assert torch.equal(places, walked)
    rows = set(walked[:, 0].tolist())
    assert set(range(height)) <= rows and set(walked[2:, 1].tolist()) == {0, 64}
    places, walked = walk(steps // 2 - 1, steps // 2, height, dilation, device)
    assert torch.equal(places, walked)
