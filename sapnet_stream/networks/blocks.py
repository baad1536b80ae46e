"""The building blocks the paper's network and its video form share.

Shapes: N batch, C channels, H height, W width.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from sapnet_stream.errors import UsageError

Convolution = Literal["full", "separable", "split"]
MOST_DILATION = 256
"""Pixels, far beyond what helps: a convolution pads its input by as many."""


def check_units(channels: int, reduction: int, dilations: tuple[int, ...]) -> None:
    """Make sure that progressive dilated units can be made of these.

    Raises:
        UsageError: they cannot.
    """
    if not all(type(value) is int for value in (channels, reduction, *dilations)):
        raise UsageError(
            "channels, reduction and dilations must be whole numbers, "
            f"got {channels!r}, {reduction!r} and {dilations!r}"
        )
    if reduction < 1:
        raise UsageError(f"reduction must be 1 or more, got {reduction}")
    if channels < reduction or channels % 2:
        raise UsageError(
            f"channels must be even and at least reduction={reduction}, got {channels}"
        )
    if not dilations or min(dilations) < 1 or max(dilations) > MOST_DILATION:
        raise UsageError(f"dilations must be 1 to {MOST_DILATION}, got {dilations}")


class DilatedConv(nn.Conv2d):
    """3x3 convolution with zero padding that keeps H and W, at any dilation."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__(channels, channels, 3, padding=dilation, dilation=dilation)

    def dense(self) -> tuple[Tensor, Tensor]:
        """Weight [C, C, 3, 3] and bias [C] of the one 3x3 convolution this is."""
        assert self.bias is not None
        return self.weight, self.bias


class SeparableConv(nn.Module):
    """Depthwise 3x3, then pointwise 1x1: the paper code's `use_DSC` ablation."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.depth_conv = nn.Conv2d(
            channels, channels, 3, padding=dilation, dilation=dilation, groups=channels
        )
        self.point_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.point_conv(self.depth_conv(x))
        return y

    def dense(self) -> tuple[Tensor, Tensor]:
        """Weight [C, C, 3, 3] and bias [C] of the one 3x3 convolution this is."""
        depth, point = self.depth_conv, self.point_conv
        assert depth.bias is not None and point.bias is not None
        mix = point.weight[:, :, 0, 0]
        weight = mix[:, :, None, None] * depth.weight[None, :, 0]
        return weight, mix @ depth.bias + point.bias


class SplitConv(nn.Module):
    """Two half-width 3x3 convolutions side by side: the paper code's `use_split`."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        half = channels // 2
        self.custom_conv1 = nn.Conv2d(half, half, 3, padding=dilation, dilation=dilation)
        self.custom_conv2 = nn.Conv2d(half, half, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return torch.cat((self.custom_conv1(first), self.custom_conv2(second)), dim=1)

    def dense(self) -> tuple[Tensor, Tensor]:
        """Weight [C, C, 3, 3] and bias [C] of the one 3x3 convolution this is."""
        first, second = self.custom_conv1, self.custom_conv2
        assert first.bias is not None and second.bias is not None
        half = first.weight.shape[0]
        weight = first.weight.new_zeros(2 * half, 2 * half, 3, 3)
        weight[:half, :half], weight[half:, half:] = first.weight, second.weight
        return weight, torch.cat((first.bias, second.bias))


ChannelConv = DilatedConv | SeparableConv | SplitConv


def channel_conv(kind: Convolution, channels: int, dilation: int) -> ChannelConv:
    """The C -> C convolution of a PDU, in one of the paper code's three forms."""
    if kind == "full":
        return DilatedConv(channels, dilation)
    if kind == "separable":
        return SeparableConv(channels, dilation)
    return SplitConv(channels, dilation)


class ChannelResidualAttention(nn.Module):
    """x scaled per channel by sigmoid(K·y + B·relu(A·y)), y the global average of x.

    The paper's CRA block (section 3.2): channel attention with a 1x1 skip `K` around its
    bottleneck `B·relu(A·)`. Keys follow the published code.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels // reduction, channels, 1, bias=False),
        )
        self.conv_1_1 = nn.Conv2d(channels, channels, 1, bias=False)

    def scale(self, pool: Tensor) -> Tensor:
        """Scales in (0, 1), [N, C, 1, 1], from the global average `pool` of that shape."""
        y: Tensor = torch.sigmoid(self.conv_du(pool) + self.conv_1_1(pool))
        return y

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale(x.mean((2, 3), keepdim=True))


class ProgressiveDilatedUnit(nn.Sequential):
    """PDU: twice (dilated convolution, channel residual attention, ReLU), plus its input.

    The paper's section 3.2. [N, C, H, W] in and out; the children's indices 0, 1, 3, 4 are
    the published state-dict keys.
    """

    def __init__(self, channels: int, dilation: int, reduction: int, kind: Convolution) -> None:
        self.dilation = dilation
        super().__init__(
            channel_conv(kind, channels, dilation),
            ChannelResidualAttention(channels, reduction),
            nn.ReLU(),
            channel_conv(kind, channels, dilation),
            ChannelResidualAttention(channels, reduction),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self:
            y = layer(y)
        return torch.relu(y + x)


def conv_lstm_update(
    i: Tensor, f: Tensor, g: Tensor, o: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    """New hidden and cell state from the four gates after their nonlinearities."""
    c = f * c + i * g
    return o * torch.tanh(c), c
