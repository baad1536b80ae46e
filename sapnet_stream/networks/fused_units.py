"""The progressive dilated units of either network, by fused kernels.

Shapes: C channels, H height, W width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sapnet_kernels.attention_scale import attention_scale
from sapnet_kernels.fused_dilated_conv import conv_weight, fused_dilated_conv
from sapnet_stream.networks.blocks import ProgressiveDilatedUnit
from sapnet_stream.networks.scaled_convolution import ScaledConvolution


class FusedUnits:
    """The units of one network, one after the other: two kernels and two scales each.

    Args:
        units: in the order they run; their weights are taken.
        device, dtype: of weights and activations.
    """

    def __init__(
        self, units: Sequence[ProgressiveDilatedUnit], device: torch.device, dtype: torch.dtype
    ) -> None:
        pairs = [(unit, position) for unit in units for position in (0, 3)]
        self._convs = [ScaledConvolution(*pair, device, torch.float32) for pair in pairs]
        self._weights = [conv_weight(conv.weight).to(dtype).contiguous() for conv in self._convs]
        self.dilations = [conv.dilation for conv in self._convs]

    def __call__(self, x: Tensor, sums: Tensor) -> Tensor:
        """[H, W, C] from [H, W, C] and the partials of its `tap_sums` for the first dilation."""
        pixels = x.shape[0] * x.shape[1]
        source = x
        for number, (conv, weight) in enumerate(zip(self._convs, self._weights, strict=True)):
            scale = attention_scale(sums, conv.heads, conv.heads_bias, conv.expand, pixels)
            residual = source if number % 2 else None
            following = [*self.dilations[number + 1 :], 0][0]
            x, sums = fused_dilated_conv(
                x, weight, conv.bias, scale, residual, conv.dilation, following
            )
            if residual is not None:
                source = x
        return x
