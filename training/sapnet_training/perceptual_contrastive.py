"""Perceptual contrastive loss (PCL): towards the clean image, away from the rainy one."""

from pathlib import Path

import torch
from torch import Tensor, nn

from sapnet_training.backbone import Backbone

LEVEL_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4)
"""Of relu1_2, relu2_2, relu3_3 and relu4_3, as in the paper's code."""

EPSILON = 1e-7


class PerceptualContrastiveLoss(nn.Module):
    """sum_i w_i · L1(anchor_i, positive_i) / L1(anchor_i, negative_i), the paper's section 3.4.

    i runs over four feature maps of VGG-16; L1 is the mean over the batch. Zero where the
    output is the clean image, about 15/32 where it is as far from it as from the rainy one.

    Args:
        folder: see `Backbone`.
        normalise: likewise; False reproduces the paper's code.
    """

    def __init__(self, folder: Path | None = None, normalise: bool = True) -> None:
        super().__init__()
        self.backbone = Backbone("vgg16", folder, normalise)

    def forward(self, output: Tensor, clean: Tensor, rainy: Tensor) -> Tensor:
        """A scalar; the gradient reaches `output` only.

        Args:
            output: the anchor, [N, 3, H, W] RGB in [0, 1], H and W at least 8.
            clean: the positive, likewise.
            rainy: the negative, likewise.
        """
        with torch.no_grad():
            fixed = self.backbone(torch.cat((clean, rainy)))
        loss = output.new_zeros(())
        for weight, anchor, both in zip(LEVEL_WEIGHTS, self.backbone(output), fixed, strict=True):
            positive, negative = both.chunk(2)
            near, far = (anchor - positive).abs().mean(), (anchor - negative).abs().mean()
            loss = loss + weight * near / (far + EPSILON)
        return loss
