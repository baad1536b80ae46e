"""How a frame is cut into tiles, and how a kernel reads and writes one.

A frame is [H, W, C], channels last: one pixel is one row of C values. A tile is some pixels of a
row, side by side, in a kernel the matrix [PIXELS, C].
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.experimental.gluon.language import NVMMASharedLayout, bfloat16, float16
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor as GluonDescriptor
from triton.tools.tensor_descriptor import TensorDescriptor

# Without a device a few programs share the tiles, so that each has more than one.
_PROGRAMS_WITHOUT_DEVICE = 3
_GLUON_TYPES = {torch.float16: float16, torch.bfloat16: bfloat16}


@dataclass(frozen=True)
class Tile:
    """One way to run a kernel.

    Attributes:
        pixels: of a tile, a power of two.
        warps: that work on it.
        stages: of the pipeline that loads operands ahead.
        programs_per_sm: programs on each multiprocessor, as many as its registers hold; they
            share the tiles of a frame.
        descriptors: tiles are moved by the copy engine of compute capability 9.0 and later,
            not element by element.
        resident: all weights stay in shared memory, where the matrix units of compute
            capability 9.0 and 10.0 take them from, and are not loaded for each tile anew.
        gluon: the kernel of capability 9.0 alone, for 16 bits.
    """

    pixels: int
    warps: int
    stages: int = 3
    programs_per_sm: int = 1
    descriptors: bool = True
    resident: bool = False
    gluon: bool = False

    def runs_on(self, capability: int) -> bool:
        """Whether it is made for a compute capability such as 90."""
        if self.gluon:
            return capability == 90
        if self.descriptors != (capability >= 90):
            return False
        # Beside the weights there is room for no second stage.
        return not self.resident or capability < 120 or self.stages == 1

    def block(self, x: Tensor) -> Any:
        """What a kernel takes for a frame [H, W, C], contiguous, to read or write its tiles."""
        if self.descriptors:
            height, width, channels = x.shape
            # PyTorch leaves the strides of an axis of length 1 to chance.
            strides = [width * channels, channels, 1]
            shape, block = [height, width, channels], [1, self.pixels, channels]
            if self.gluon:
                layout = NVMMASharedLayout.get_default_for(block, _GLUON_TYPES[x.dtype])
                return GluonDescriptor(x, shape, strides, block, layout)
            return TensorDescriptor(x, shape, strides, block)
        return x

    def programs(self, x: Tensor) -> int:
        """How many programs share the tiles of a frame [H, W, C]."""
        tiles = x.shape[0] * -(-x.shape[1] // self.pixels)
        return int(min(tiles, self.programs_per_sm * _multiprocessors(x.device)))

    def options(self) -> dict[str, int | bool]:
        """A kernel's constants that a tile decides."""
        return {
            "PIXELS": self.pixels,
            "STAGES": self.stages,
            "DESCRIPTORS": self.descriptors,
            "RESIDENT": self.resident,
            "num_warps": self.warps,
        }


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        return _PROGRAMS_WITHOUT_DEVICE
    return torch.cuda.get_device_properties(device).multi_processor_count


@triton.jit
def tile_pointers(x, row, left, height, width, CHANNELS: tl.constexpr, PIXELS: tl.constexpr):
    """Of the values of a tile, and which are inside the frame."""
    pixel = tl.arange(0, PIXELS)
    inside = (row >= 0) & (row < height) & (left + pixel >= 0) & (left + pixel < width)
    # One offset of 64 bits for all pixels takes no registers of each.
    x += (row * tl.cast(width, tl.int64) + left) * CHANNELS
    return x + pixel[:, None] * CHANNELS + tl.arange(0, CHANNELS)[None, :], inside[:, None]


@triton.jit
def load_tile(
    x,
    row,
    left,
    height,
    width,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    """[PIXELS, CHANNELS] of frame `x` from (row, left) on; zeros beyond the frame."""
    if DESCRIPTORS:
        block = x.load([row, left, 0]).reshape(PIXELS, CHANNELS)
    else:
        pointers, inside = tile_pointers(x, row, left, height, width, CHANNELS, PIXELS)
        block = tl.load(pointers, mask=inside, other=0.0)
    return block


@triton.jit
def store_tile(
    x,
    values,
    row,
    left,
    height,
    width,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    """Write [PIXELS, CHANNELS] to frame `x`; what lies beyond it is dropped."""
    if DESCRIPTORS:
        x.store([row, left, 0], values.reshape(1, PIXELS, CHANNELS))
    else:
        pointers, inside = tile_pointers(x, row, left, height, width, CHANNELS, PIXELS)
        tl.store(pointers, values, mask=inside)
