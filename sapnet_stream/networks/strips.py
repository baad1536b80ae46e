"""Whole-frame layers that run strip by strip, with the workspace of one strip.

Shapes: C channels, H height, W width; one frame at a time, channels last.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Strips:
    """A frame's rows from top to bottom, `rows` at a time."""

    height: int
    rows: int

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """First row and row after the last, of each strip."""
        for start in range(0, self.height, self.rows):
            yield start, min(start + self.rows, self.height)


class Plane:
    """A frame's feature map between rows of zeros: the padding of any strip's convolution.

    Args:
        channels, height, width: of the map, [1, C, H, W].
        margin: rows of zeros above and below.
        dtype, device: of the memory.
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        margin: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._margin = margin
        shape = (1, channels, height + 2 * margin, width)
        memory = torch.empty(shape, dtype=dtype, device=device, memory_format=torch.channels_last)
        self._rows = memory.zero_()

    def rows(self, start: int, stop: int, halo: int = 0) -> Tensor:
        """View of the rows `start` to `stop` and `halo` more on either side."""
        first = self._margin + start
        return self._rows[:, :, first - halo : first + (stop - start) + halo]

    def convolved(
        self, start: int, stop: int, weight: Tensor, bias: Tensor, dilation: int = 1
    ) -> Tensor:
        """Rows `start` to `stop` of the map's zero-padded 3x3 convolution."""
        return functional.conv2d(
            self.rows(start, stop, halo=dilation),
            weight,
            bias,
            padding=(0, dilation),
            dilation=dilation,
        )


def rectify(x: Tensor, out: Tensor) -> None:
    """relu(x) into `out` (which may be `x`), by the sign bit.

    A float is negative where the integer of its bits is. PyTorch's relu of bfloat16 on a
    CPU goes through float32 and takes five times as long as this.
    """
    bits = {4: torch.int32, 2: torch.int16}[x.element_size()]
    if out is x:
        # The compiler of PyTorch 2.11 knows no `out=` that lies channels last.
        x.view(bits).clamp_min_(0)
    else:
        torch.clamp_min(x.view(bits), 0, out=out.view(bits))


class TapMeans:
    """Means of what each tap of a 3x3 convolution sees of a frame, gathered strip by strip.

    The mean of a convolution's output is linear in its input: tap (ky, kx) of a zero-padded
    convolution of dilation d reads the frame moved by ((ky - 1) d, (kx - 1) d), so it sees
    the whole frame less the last d rows (ky = 0) or the first d (ky = 2), and less the last
    or first d columns. Taken as total less border, column by column and then row by row,
    this holds for any H, W >= 1, also where the frame is smaller than d and a tap sees
    nothing: no case needs the direct pool.
    """

    def __init__(
        self, channels: int, height: int, width: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._pixels = height * width
        # Sums accumulate in float32. Storing a row's as bfloat16, which has float32's range,
        # takes a CPU half the time, and the rounding averages out over the rows.
        kept = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32
        self._totals = torch.zeros(height, channels, dtype=kept, device=device)

    def add(self, x: Tensor, start: int, stop: int) -> None:
        """Take in the strip `x`, rows `start` to `stop` of the frame, while it is in cache."""
        totals = self._totals
        torch.sum(x[0].permute(1, 2, 0), 1, dtype=totals.dtype, out=totals[start:stop])

    def means(self, x: Tensor, dilation: int) -> Tensor:
        """[9 C] in the order (ky, kx, C), float32, of the whole frame `x` just taken in."""
        columns = x[0].permute(1, 2, 0)
        last = columns[:, -dilation:].sum(1, dtype=torch.float32)
        first = columns[:, :dilation].sum(1, dtype=torch.float32)
        total = self._totals.float()
        # [H, 3 C]: sums of each row over the columns that kx = 0, 1, 2 see.
        rows = torch.cat((total - last, total, total - first), dim=1)
        # Less the border here too: sums of H and of H - d rows Inductor joins on a GPU, and fails.
        every, top, bottom = rows.sum(0), rows[:dilation].sum(0), rows[-dilation:].sum(0)
        seen = torch.stack((every - bottom, every, every - top))
        return seen.div_(self._pixels).flatten()
