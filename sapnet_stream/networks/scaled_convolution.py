"""A convolution that takes the channel attention after it into its weights.

Shapes: C channels, H height, W width.
"""

import torch
from torch import Tensor, nn

from sapnet_stream.networks.blocks import (
    ChannelConv,
    ChannelResidualAttention,
    ProgressiveDilatedUnit,
)


class ScaledConvolution:
    """A PDU's convolution and the channel attention after it, as one convolution.

    With the tap means T of a frame, the mean of the convolution is y = W T + b; the scale
    sigmoid(K y + B relu(A y)) then multiplies weight and bias. [K; A] W is one matrix.

    Args:
        unit: the PDU.
        position: of the convolution in it; the attention comes next.
        device, dtype: of the result.

    Attributes:
        dilation: of the convolution.
        weight, bias: before any scale, [C, C, 3, 3] and [C], float32.
        heads, heads_bias: [K; A] W and [K; A] b, [C + R, 9 C] and [C + R], float32.
        expand: B, [C, R], float32.
    """

    def __init__(
        self,
        unit: ProgressiveDilatedUnit,
        position: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        conv, attention = unit[position], unit[position + 1]
        assert isinstance(conv, ChannelConv) and isinstance(attention, ChannelResidualAttention)
        weight, bias = (tensor.double() for tensor in conv.dense())
        squeeze, _, expand = attention.conv_du
        assert isinstance(squeeze, nn.Conv2d) and isinstance(expand, nn.Conv2d)
        heads = torch.cat((attention.conv_1_1.weight, squeeze.weight)).flatten(1).double()
        from_taps = heads @ weight.permute(0, 2, 3, 1).flatten(1)

        self.dilation = unit.dilation
        self._dtype = dtype
        self._channels = len(bias)
        self.heads = from_taps.to(device, torch.float32)
        self.heads_bias = (heads @ bias).to(device, torch.float32)
        self.expand = expand.weight.flatten(1).to(device, torch.float32, copy=True)
        self.weight = weight.to(device, torch.float32, memory_format=torch.channels_last)
        self.bias = bias.to(device, torch.float32)

    def scaled(self, taps: Tensor) -> tuple[Tensor, Tensor]:
        """Weight [C, C, 3, 3] and bias [C] for a frame with the tap means `taps` [9 C]."""
        scale = self.scale(taps)
        weight = self.weight * scale[:, None, None, None]
        return weight.to(self._dtype), (self.bias * scale).to(self._dtype)

    def scale(self, taps: Tensor) -> Tensor:
        """The attention's scales, [C], for a frame with the tap means `taps` [9 C]."""
        heads = torch.addmv(self.heads_bias, self.heads, taps)
        skip, squeezed = heads[: self._channels], heads[self._channels :]
        return torch.addmv(skip, self.expand, squeezed.relu_()).sigmoid_()
