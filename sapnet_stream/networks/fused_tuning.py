"""Chooses how the kernels run for frames of one size, before the first is recorded."""

from collections.abc import Iterable

import torch

from sapnet_kernels import conv_lstm_cell, entry_conv, fused_dilated_conv, output_conv
from sapnet_kernels.tile import Tile
from sapnet_kernels.tuning import tune


def tune_layers(
    height: int,
    width: int,
    channels: int,
    dilations: Iterable[int],
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Tune the cell and the units' convolutions for feature maps of `height` x `width`."""

    def zeros(*shape: int, dtype: torch.dtype = dtype) -> torch.Tensor:
        return torch.zeros(shape, device=device, dtype=dtype)

    x = zeros(height, width, channels)
    bias = zeros(4 * channels, dtype=torch.float32)
    weight, b = zeros(9, channels, channels), bias[:channels]
    for dilation in sorted(set(dilations)):

        def convolve(tile: Tile, d: int = dilation) -> object:
            return fused_dilated_conv.launch(tile, x, weight, b, b, x, d, d, True)

        tune("fused_dilated_conv", fused_dilated_conv.TILES[channels], x, dilation, convolve)
    gates, c = zeros(18, channels, 4 * channels), x.float()
    tune(
        "conv_lstm_cell",
        conv_lstm_cell.TILES[channels],
        x,
        1,
        lambda tile: conv_lstm_cell.launch(tile, x, x, c, gates, bias, 1),
    )


def tune_images(
    height: int, width: int, channels: int, device: torch.device, dtype: torch.dtype
) -> None:
    """Tune the convolutions from and to images of `height` x `width`."""
    image = torch.zeros(3, height, width, device=device)
    x = torch.zeros(height, width, channels, device=device, dtype=dtype)
    bias = torch.zeros(channels, device=device)
    weight = torch.zeros(64, channels, device=device, dtype=dtype)
    tune(
        "entry_conv",
        entry_conv.TILES,
        image.permute(1, 2, 0),
        1,
        lambda tile: entry_conv.launch(tile, image, image, weight, bias),
    )
    last = torch.zeros(9, channels, 16, device=device, dtype=dtype)
    tune(
        "output_conv",
        output_conv.TILES,
        x,
        1,
        lambda tile: output_conv.launch(tile, x, last, bias[:16], image),
    )
