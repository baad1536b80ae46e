"""Horizontal strips: layers that run on whole frames with the workspace of a few rows.

Shapes: C channels, H height, W width; one frame at a time, [1, C, H, W], channels last.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Strips:
    """A frame's rows, top to bottom, `rows` at a time.

    Attributes:
        height: rows of the frame.
        rows: rows of a strip; the last strip may have fewer.
    """

    height: int
    rows: int

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """First row and row after the last, of each strip."""
        for start in range(0, self.height, self.rows):
            yield start, min(start + self.rows, self.height)


def conv_rows(
    x: Tensor, weight: Tensor, bias: Tensor, dilation: int, start: int, stop: int
) -> Tensor:
    """Rows `start` to `stop` of the zero-padded 3x3 convolution of the whole frame `x`.

    Reads `dilation` more rows on either side, as far as the frame has them.
    """
    height = x.shape[2]
    if start == 0 and stop == height:
        return functional.conv2d(x, weight, bias, padding=dilation, dilation=dilation)
    rows = x[:, :, max(0, start - dilation) : stop + dilation]
    above, below = max(0, dilation - start), max(0, stop + dilation - height)
    if above or below:
        rows = functional.pad(rows, (0, 0, above, below))
    return functional.conv2d(rows, weight, bias, padding=(0, dilation), dilation=dilation)


def rectify(x: Tensor, out: Tensor) -> None:
    """relu(x) into `out` (which may be `x`), by the sign bit.

    A float is negative where the integer of its bits is. PyTorch's relu of bfloat16 on a
    CPU goes through float32 and takes five times as long as this.
    """
    bits = {4: torch.int32, 2: torch.int16}[x.element_size()]
    torch.clamp_min(x.view(bits), 0, out=out.view(bits))


class TapSums:
    """Means of what each tap of a 3x3 convolution sees of a frame, summed strip by strip.

    The mean of a convolution's output is linear in its input: tap (ky, kx) of a zero-padded
    convolution of dilation d reads the frame moved by ((ky - 1) d, (kx - 1) d), so it sees
    the whole frame less the last d rows (ky = 0) or the first d (ky = 2), and less the last
    or first d columns. Taken as total less border, column by column and then row by row,
    this holds for any H, W >= 1, also where the frame is smaller than d and a tap sees
    nothing.
    """

    def __init__(self, channels: int, height: int, width: int, device: torch.device) -> None:
        # [H, kx, C]: sums over the columns tap column kx sees, of each row.
        self._rows = torch.zeros(height, 3, channels, device=device)
        self._scale = 1.0 / (height * width)

    def add(self, x: Tensor, start: int, stop: int) -> None:
        """Sum the strip `x`, rows `start` to `stop` of the frame, while it is in cache."""
        torch.sum(x[0], 2, dtype=torch.float32, out=self._rows[start:stop, 1].T)

    def means(self, x: Tensor, dilation: int) -> Tensor:
        """[9 C] in the order (ky, kx, C), float32, of the whole frame `x` just summed."""
        rows = self._rows
        total = rows[:, 1]
        torch.sub(total, x[0, :, :, -dilation:].sum(2, dtype=torch.float32).T, out=rows[:, 0])
        torch.sub(total, x[0, :, :, :dilation].sum(2, dtype=torch.float32).T, out=rows[:, 2])
        every = rows.sum(0)
        seen = torch.stack((rows[:-dilation].sum(0), every, rows[dilation:].sum(0)))
        return seen.mul_(self._scale).flatten()
