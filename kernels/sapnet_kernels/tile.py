"""How a frame is cut into tiles, and how a kernel reads and writes one.

A frame is [H, W, C], channels last: one pixel is one row of C values. A tile is a rectangle of
pixels, in a kernel the matrix [ROWS * COLUMNS, C].
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

# Without a device a few programs share the tiles, so that each has more than one.
_PROGRAMS_WITHOUT_DEVICE = 3


@dataclass(frozen=True)
class Tile:
    """One way to run a kernel.

    Attributes:
        rows, columns: of a tile, powers of two.
        warps: that work on it.
        stages: of the pipeline that loads operands ahead.
        programs_per_sm: programs on each multiprocessor, as many as its registers hold; they
            share the tiles of a frame.
        descriptors: tiles are moved by the copy engine of compute capability 9.0 and later,
            not element by element.
    """

    rows: int
    columns: int
    warps: int
    stages: int = 3
    programs_per_sm: int = 1
    descriptors: bool = True

    def block(self, x: Tensor) -> Any:
        """What a kernel takes for a frame [H, W, C], contiguous, to read or write its tiles."""
        if self.descriptors:
            height, width, channels = x.shape
            # PyTorch leaves the strides of an axis of length 1 to chance.
            strides = [width * channels, channels, 1]
            block = [self.rows, self.columns, channels]
            return TensorDescriptor(x, [height, width, channels], strides, block)
        return x

    def programs(self, x: Tensor) -> int:
        """How many programs share the tiles of a frame [H, W, C]."""
        tiles = -(-x.shape[0] // self.rows) * -(-x.shape[1] // self.columns)
        return int(min(tiles, self.programs_per_sm * _multiprocessors(x.device)))

    def options(self) -> dict[str, int | bool]:
        """A kernel's constants that a tile decides."""
        return {
            "ROWS": self.rows,
            "COLUMNS": self.columns,
            "STAGES": self.stages,
            "DESCRIPTORS": self.descriptors,
            "num_warps": self.warps,
        }


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        return _PROGRAMS_WITHOUT_DEVICE
    return torch.cuda.get_device_properties(device).multi_processor_count


@triton.jit
def tile_pixels(tile, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Row and column of each pixel of a tile, [ROWS * COLUMNS], also beyond the frame."""
    across = tl.cdiv(width, COLUMNS)
    pixel = tl.arange(0, ROWS * COLUMNS)
    return tile // across * ROWS + pixel // COLUMNS, tile % across * COLUMNS + pixel % COLUMNS


@triton.jit
def _pointers(
    x,
    top,
    left,
    height,
    width,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Of the values of a tile, and which are inside the frame."""
    pixel = tl.arange(0, ROWS * COLUMNS)
    y = top + pixel // COLUMNS
    column = left + pixel % COLUMNS
    inside = (y >= 0) & (y < height) & (column >= 0) & (column < width)
    offset = (y.to(tl.int64) * width + column) * CHANNELS
    return x + offset[:, None] + tl.arange(0, CHANNELS)[None, :], inside[:, None]


@triton.jit
def load_tile(
    x,
    top,
    left,
    height,
    width,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    """[ROWS * COLUMNS, CHANNELS] of frame `x` from (top, left) on; zeros beyond the frame."""
    if DESCRIPTORS:
        block = x.load([top, left, 0]).reshape(ROWS * COLUMNS, CHANNELS)
    else:
        pointers, inside = _pointers(x, top, left, height, width, CHANNELS, ROWS, COLUMNS)
        block = tl.load(pointers, mask=inside, other=0.0)
    return block


@triton.jit
def store_tile(
    x,
    values,
    top,
    left,
    height,
    width,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    """Write [ROWS * COLUMNS, CHANNELS] to frame `x`; what lies beyond it is dropped."""
    if DESCRIPTORS:
        x.store([top, left, 0], values.reshape(ROWS, COLUMNS, CHANNELS))
    else:
        pointers, inside = _pointers(x, top, left, height, width, CHANNELS, ROWS, COLUMNS)
        tl.store(pointers, values, mask=inside)
