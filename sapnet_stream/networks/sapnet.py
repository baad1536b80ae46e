"""SAPNet, the paper's deraining network, with the published state-dict keys.

Zheng, Lu, Wu, Gupta: "SAPNet: Segmentation-Aware Progressive Network for Perceptual
Contrastive Deraining", WACV 2022 workshops.

Shapes: N batch, C channels, H height, W width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sapnet_stream.errors import UsageError
from sapnet_stream.networks.blocks import (
    Convolution,
    ProgressiveDilatedUnit,
    check_units,
    conv_lstm_update,
)


@dataclass(frozen=True)
class SAPNetConfig:
    """What the paper's code can vary.

    Attributes:
        channels: width of every hidden layer.
        stages: how many times the recurrent network looks at the image.
        dilations: one PDU each; (1, 1, 1, 1, 1) is the paper's "no dilation" ablation.
        convolution: the PDU's convolution: "full", or the ablations "separable", "split".
        reduction: bottleneck of the channel residual attention.
    """

    channels: int = 32
    stages: int = 6
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    convolution: Convolution = "full"
    reduction: int = 16

    def __post_init__(self) -> None:
        # A checkpoint's metadata is JSON, which has lists only.
        object.__setattr__(self, "dilations", tuple(self.dilations))
        check_units(self.channels, self.reduction, self.dilations)
        if type(self.stages) is not int or self.stages < 1:
            raise UsageError(f"stages must be 1 or more, got {self.stages!r}")
        if self.convolution not in ("full", "separable", "split"):
            raise UsageError(
                f"convolution must be full, separable or split, got {self.convolution!r}"
            )


class SAPNet(nn.Module):
    """Removes rain from images, [N, 3, H, W] RGB in [0, 1], any H, W >= 1.

    Each of the stages joins the rainy image with the last estimate, updates a ConvLSTM,
    runs five progressive dilated units, and predicts a residual on the rainy image. The
    output is not clamped.
    """

    def __init__(self, config: SAPNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SAPNetConfig()
        width = config.channels
        self.conv0 = nn.Sequential(nn.Conv2d(6, width, 3, padding=1), nn.ReLU())
        for number, dilation in enumerate(config.dilations, start=1):
            unit = ProgressiveDilatedUnit(width, dilation, config.reduction, config.convolution)
            self.add_module(f"res_conv{number}", unit)
        self.conv_i = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.Sigmoid())
        self.conv_f = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.Sigmoid())
        self.conv_g = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.Tanh())
        self.conv_o = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.Sigmoid())
        self.conv = nn.Sequential(nn.Conv2d(width, 3, 3, padding=1))

    @property
    def units(self) -> list[ProgressiveDilatedUnit]:
        """The progressive dilated units in the order they run."""
        return [m for m in self.children() if isinstance(m, ProgressiveDilatedUnit)]

    def iterate(self, image: Tensor, stages: int | None = None) -> Iterator[Tensor]:
        """The estimate after each stage, `stages` of them (default: all), [N, 3, H, W]."""
        if image.dim() != 4 or image.shape[1] != 3:
            raise UsageError(f"SAPNet takes [N, 3, H, W], got {tuple(image.shape)}")
        n, _, height, width = image.shape
        h = image.new_zeros(n, self.config.channels, height, width)
        c = h
        estimate = image
        for _ in range(checked_stages(stages, self.config.stages)):
            estimate, h, c = self.stage(image, estimate, h, c)
            yield estimate

    def stage(
        self, image: Tensor, estimate: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One look: the next estimate, hidden and cell state.

        Args:
            image: the rainy image, [N, 3, H, W].
            estimate: the last one, the image itself at first; same shape.
            h: hidden state, [N, C, H, W], zeros at first.
            c: cell state, likewise.
        """
        x = self.conv0(torch.cat((image, estimate), dim=1))
        x = torch.cat((x, h), dim=1)
        h, c = conv_lstm_update(self.conv_i(x), self.conv_f(x), self.conv_g(x), self.conv_o(x), c)
        x = h
        for unit in self.units:
            x = unit(x)
        return self.conv(x) + image, h, c

    def forward(self, image: Tensor, stages: int | None = None) -> Tensor:
        """The last of `stages` estimates (default: all the network was trained with)."""
        *_, last = self.iterate(image, stages)
        return last

    def forward_all(self, image: Tensor, stages: int | None = None) -> list[Tensor]:
        """Every stage's estimate, first to last."""
        return list(self.iterate(image, stages))


def checked_stages(stages: int | None, most: int) -> int:
    """`stages` if it is in 1..most, `most` for None; anything else is a `UsageError`."""
    if stages is None:
        return most
    if type(stages) is not int or not 1 <= stages <= most:
        raise UsageError(f"stages must be 1 to {most}, got {stages!r}")
    return stages
