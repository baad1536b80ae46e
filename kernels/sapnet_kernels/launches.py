"""One launch of each op on frames of a size: what tuning measures and reports compile.

Shapes: H height, W width, C channels.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sapnet_kernels import conv_lstm_cell, fused_dilated_conv, output_conv
from sapnet_kernels.tile import Tile
from sapnet_kernels.tuning import tune


@dataclass(frozen=True)
class Launch:
    """An op, its arguments, and what no way of running it can save.

    Attributes:
        op: its name.
        tiles: the ways to run it.
        x: a frame as large as the one it reads.
        channels: of the one it writes.
        dilation: of its convolution.
        run: runs it once by a tile.
        flop: floating-point operations of one pixel.
        bytes: that one pixel takes to and from memory, each tensor once.
        asked_bytes: that one pixel asks the caches for, as its kernel does.
    """

    op: str
    tiles: Sequence[Tile]
    x: Tensor
    channels: int
    dilation: int
    run: Callable[[Tile], object]
    flop: int
    bytes: int
    asked_bytes: int

    def tune(self) -> None:
        """See `sapnet_kernels.tuning`."""
        tune(self.op, self.tiles, self.x, self.channels, self.dilation, self.run)


def layer_launches(
    height: int,
    width: int,
    channels: int,
    dilations: Iterable[int],
    device: torch.device,
    dtype: torch.dtype,
) -> Iterator[Launch]:
    """The convolution with residual at each dilation, and the cell, on maps [H, W, C]."""
    x = torch.zeros(height, width, channels, device=device, dtype=dtype)
    row = channels * dtype.itemsize
    weight = x.new_zeros(9, channels, channels)
    bias = x.new_zeros(4 * channels, dtype=torch.float32)
    b = bias[:channels]
    for dilation in dilations:

        def convolve(tile: Tile, d: int = dilation) -> object:
            return fused_dilated_conv.launch(tile, x, weight, b, b, x, d, d, True)

        tiles = fused_dilated_conv.tiles(channels, channels)
        flop = 2 * 9 * channels**2
        given = x, channels, dilation, convolve
        yield Launch("fused_dilated_conv", tiles, *given, flop, 3 * row, 5 * row)

    c = x.new_zeros(x.shape, dtype=torch.float32)
    gates = x.new_zeros(18, channels, 4 * channels)
    yield Launch(
        "conv_lstm_cell",
        conv_lstm_cell.TILES[channels],
        x,
        channels,
        1,
        lambda tile: conv_lstm_cell.launch(tile, x, x, c, gates, bias, 1),
        flop=2 * 9 * 2 * channels * 4 * channels,
        bytes=3 * row + 2 * 4 * channels,
        asked_bytes=19 * row + 2 * 4 * channels,
    )


def image_launches(
    height: int, width: int, channels: int, device: torch.device, dtype: torch.dtype
) -> Iterator[Launch]:
    """The convolutions from two images to [H, W, C], from there to the next two, and to one."""
    x = torch.zeros(height, width, channels, device=device, dtype=dtype)
    row, pair_row, image_row = channels * dtype.itemsize, 16 * dtype.itemsize, 3 * 4
    image = x.new_zeros(3, height, width, dtype=torch.float32)
    pair = x.new_zeros(height, width, 16)
    bias = x.new_zeros(channels, dtype=torch.float32)
    first, last = x.new_zeros(9, 16, channels), x.new_zeros(9, channels, 16)
    yield Launch(
        "fused_dilated_conv",
        fused_dilated_conv.tiles(16, channels),
        pair,
        channels,
        1,
        lambda tile: fused_dilated_conv.launch(tile, pair, first, bias, None, None, 1, 0, True),
        flop=2 * 54 * channels,
        bytes=pair_row + row,
        asked_bytes=3 * pair_row + row,
    )
    yield Launch(
        "fused_dilated_conv",
        fused_dilated_conv.tiles(channels, 16),
        x,
        16,
        1,
        lambda tile: fused_dilated_conv.launch(
            tile, x, last, bias[:16], None, pair, 1, 0, relu=False
        ),
        flop=2 * 27 * channels,
        bytes=row + 2 * pair_row,
        asked_bytes=3 * row + 2 * pair_row,
    )
    yield Launch(
        "output_conv",
        output_conv.TILES,
        x,
        3,
        1,
        lambda tile: output_conv.launch(tile, x, last, bias[:16], image),
        flop=2 * 27 * channels,
        bytes=row + 2 * image_row,
        asked_bytes=3 * row + 2 * image_row,
    )


def video_launches(
    height: int, width: int, channels: int, device: torch.device, dtype: torch.dtype
) -> Iterator[Launch]:
    """The convolution from what `video_input` makes, [H, W, 64], to [H, W, C]."""
    x = torch.zeros(height, width, 64, device=device, dtype=dtype)
    row, input_row = channels * dtype.itemsize, 64 * dtype.itemsize
    weight = x.new_zeros(9, 64, channels)
    bias = x.new_zeros(channels, dtype=torch.float32)
    yield Launch(
        "fused_dilated_conv",
        fused_dilated_conv.tiles(64, channels),
        x,
        channels,
        1,
        lambda tile: fused_dilated_conv.launch(tile, x, weight, bias, None, None, 1, 0, True),
        flop=2 * 9 * 64 * channels,
        bytes=input_row + row,
        asked_bytes=3 * input_row + row,
    )
