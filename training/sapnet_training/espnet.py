"""ESPNet, a small street-scene segmentation network, with the published state-dict keys.

Mehta, Rastegari, Caspi, Shapiro, Hajishirzi: "ESPNet: Efficient Spatial Pyramid of Dilated
Convolutions for Semantic Segmentation", ECCV 2018.

Shapes: N batch, C channels, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 20
"""Cityscapes' 19 and the rest."""

DILATIONS = (1, 2, 4, 8, 16)
EPS = 1e-3


class Convolution(nn.Module):
    """Without bias, the padding keeps the size."""

    def __init__(
        self, inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        pad = dilation * (size // 2)
        self.conv = nn.Conv2d(inputs, outputs, size, stride, pad, dilation, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class Activation(nn.Module):
    """Batch normalisation and PReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width, EPS)
        self.act = nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.bn(x))
        return y


class ActivatedConvolution(Convolution):
    """A 3 x 3 convolution, batch normalisation and PReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 3, stride)
        self.bn = nn.BatchNorm2d(outputs, EPS)
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.bn(super().forward(x)))
        return y


class SpatialPyramid(nn.Module):
    """Reduce, dilate five ways, add up and join (the paper's figure 1): no activation."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int) -> None:
        super().__init__()
        part = outputs // len(DILATIONS)
        self.c1 = Convolution(inputs, part, size, stride)
        for dilation in DILATIONS:
            width = outputs - 4 * part if dilation == 1 else part
            self.add_module(f"d{dilation}", Convolution(part, width, 3, dilation=dilation))

    def forward(self, x: Tensor) -> Tensor:
        x = self.c1(x)
        first, total, *others = (self.get_submodule(f"d{dilation}")(x) for dilation in DILATIONS)
        parts = [first, total]
        for other in others:  # sums hide the grid that wide dilations leave
            total = total + other
            parts.append(total)
        return torch.cat(parts, 1)


class PyramidDown(SpatialPyramid):
    """Half the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, size=3, stride=2)
        self.bn = nn.BatchNorm2d(outputs, EPS)
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.bn(super().forward(x)))
        return y


class PyramidUnit(SpatialPyramid):
    """A residual on its input where the widths agree."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, size=1, stride=1)
        self.bn = Activation(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        out: Tensor = self.bn(x + y if x.shape == y.shape else y)
        return out


class Encoder(nn.Module):
    """Features at a half, a quarter and an eighth of the size."""

    def __init__(self, second: int, third: int) -> None:
        super().__init__()
        self.level1 = ActivatedConvolution(3, 16, stride=2)
        self.b1 = Activation(19)
        self.level2_0 = PyramidDown(19, 64)
        self.level2 = nn.Sequential(*(PyramidUnit(64, 64) for _ in range(second)))
        self.b2 = Activation(131)
        self.level3_0 = PyramidDown(131, 128)
        self.level3 = nn.Sequential(*(PyramidUnit(128, 128) for _ in range(third)))
        self.b3 = Activation(256)
        self.classifier = Convolution(256, CLASSES, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half, quarter = _halved(image), _halved(_halved(image))
        first = self.level1(image)
        down = self.level2_0(self.b1(torch.cat((first, half), 1)))
        second = self.b2(torch.cat((self.level2(down), down, quarter), 1))
        down = self.level3_0(second)
        third = self.classifier(self.b3(torch.cat((down, self.level3(down)), 1)))
        return first, second, third


class ESPNet(nn.Module):
    """Class scores, [N, CLASSES, H, W], of [N, 3, H, W] normalised BGR, H and W multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        # Units at a quarter and an eighth of the size (the paper's alpha 2, 3).
        self.encoder = Encoder(2, 8)
        self.br = nn.BatchNorm2d(CLASSES, EPS)
        self.up_l3 = nn.Sequential(_doubling())
        self.level3_C = Convolution(131, CLASSES, 1)
        self.combine_l2_l3 = nn.Sequential(
            Activation(2 * CLASSES), PyramidUnit(2 * CLASSES, CLASSES)
        )
        self.up_l2 = nn.Sequential(_doubling(), Activation(CLASSES))
        self.conv = ActivatedConvolution(16 + CLASSES, CLASSES)
        self.classifier = _doubling()

    def forward(self, image: Tensor) -> Tensor:
        first, second, third = self.encoder(image)
        coarse = self.up_l3(self.br(third))
        middle = self.up_l2(self.combine_l2_l3(torch.cat((self.level3_C(second), coarse), 1)))
        scores: Tensor = self.classifier(self.conv(torch.cat((middle, first), 1)))
        return scores


def _halved(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 3, stride=2, padding=1)


def _doubling() -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(CLASSES, CLASSES, 2, stride=2, bias=False)
