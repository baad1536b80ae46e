"""Unsupervised background segmentation (UBS): the derained image must be easy to segment.

Shapes: N batch, K classes, H height, W width.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_training.backbone import Backbone

CLASSES = 21
WIDTH = 256
HEAD_DEVIATION = 0.01


class FeaturePyramid(nn.Module):
    """A feature pyramid whose levels are joined at the finest one and classified there.

    From the coarsest level down, each is added to the upsampled one above it; two 3x3
    convolutions smooth every level. Weights are Gaussian, biases zero.

    Args:
        channels: of the feature maps, from fine to coarse.
        seed: of the weights.
    """

    def __init__(self, channels: tuple[int, ...], seed: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, WIDTH, 1) for width in channels)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, WIDTH // 2, 3, padding=1)
            )
            for _ in channels
        )
        self.classify = nn.Conv2d(len(channels) * WIDTH // 2, CLASSES, 3, padding=1)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            if parameter.dim() == 1:
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=HEAD_DEVIATION, generator=generator)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Logits at the size of the finest map, [N, K, H, W]."""
        finest = maps[0].shape[2:]
        joined: list[Tensor] = []
        level: Tensor | None = None
        for lateral, smooth, features in zip(
            reversed(self.laterals), reversed(self.smooth), reversed(maps), strict=True
        ):
            side = lateral(features)
            level = side if level is None else side + _resized(level, side.shape[2:])
            joined.append(_resized(smooth(level), finest))
        logits: Tensor = self.classify(torch.cat(joined, dim=1))
        return logits


class BackgroundSegmentationLoss(nn.Module):
    """Focal loss of a frozen segmentation against its own most likely classes.

    The paper's section 3.3: an ImageNet backbone under Gaussian heads, untrained. Falls as
    the segmentation of the derained image gets more certain.

    Args:
        backbone: a name of `backbone.NAMES`; "resnet101" is the paper's. VGG-16 gives its
            levels 2_2, 3_3 and 4_3, a ResNet all four stages.
        folder, normalise: see `Backbone`.
        seed: of the heads.
    """

    def __init__(
        self,
        backbone: str = "resnet101",
        folder: Path | None = None,
        normalise: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, folder, normalise)
        self._first = 1 if backbone == "vgg16" else 0  # relu1_2 has the image's own size
        self.pyramid = FeaturePyramid(self.backbone.channels[self._first :], seed)
        self.pyramid.requires_grad_(False)

    def forward(self, output: Tensor) -> Tensor:
        """A scalar; the gradient reaches `output`, [N, 3, H, W] RGB in [0, 1]."""
        logits = self.pyramid(self.backbone(output)[self._first :])
        return focal_loss(logits, logits.argmax(1))


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean of -(1 - p)^gamma · log p, p the probability of the label (Lin et al., ICCV 2017).

    Args:
        logits: [N, K, H, W].
        labels: [N, H, W] int64 in 0..K-1.
        gamma: how little a certain pixel counts.
    """
    log_p = F.log_softmax(logits, dim=1).gather(1, labels[:, None])
    return -((1 - log_p.exp()) ** gamma * log_p).mean()


def _resized(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
