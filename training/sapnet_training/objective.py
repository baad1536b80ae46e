"""What a recipe minimises: the weighted sum of its losses."""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_training.background_segmentation import BackgroundSegmentationLoss
from sapnet_training.image_config import ImageConfig
from sapnet_training.losses import ssim
from sapnet_training.perceptual_contrastive import PerceptualContrastiveLoss
from sapnet_training.perceptual_similarity import PerceptualSimilarityLoss


class Objective(nn.Module):
    """Built once from a recipe; networks whose weight is zero are not built.

    With the recipe `sapnet_paper.yaml` this is the total of the paper's code,
    -SSIM + 0.1 · (4 · PCL) + 0.1 · (10 · LPISL) + 0.1 · UBS, plus 1.

    Args:
        config: names the weights.
        backbone_weights: folder of ImageNet weights, see `imagenet_weights`.

    Raises:
        WeightsError: a network that looks at the images has no weights.
    """

    def __init__(self, config: ImageConfig, backbone_weights: Path | None = None) -> None:
        super().__init__()
        normalise = config.imagenet_normalisation
        self._config = config
        self.contrastive: PerceptualContrastiveLoss | None = None
        self.similarity: PerceptualSimilarityLoss | None = None
        self.segmentation: BackgroundSegmentationLoss | None = None
        if config.pcl:
            self.contrastive = PerceptualContrastiveLoss(backbone_weights, normalise)
        if config.lpisl:
            self.similarity = PerceptualSimilarityLoss(config.lpips_trunk, backbone_weights)
        if config.ubs:
            self.segmentation = BackgroundSegmentationLoss(
                config.ubs_backbone, backbone_weights, normalise, config.seed
            )

    def forward(
        self, estimates: list[Tensor], rainy: Tensor, clean: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and each term of it without its weight and without graph.

        Args:
            estimates: of every stage, [N, 3, H, W] each; the last is the output.
            rainy, clean: [N, 3, H, W] RGB in [0, 1].
            step: UBS takes part from `ubs_start` on.
        """
        total = estimates[-1].new_zeros(())
        values = {}
        for name, value in self._terms(estimates, rainy, clean, step):
            total = total + getattr(self._config, name) * value
            values[name] = value.detach()
        return total, values

    def _terms(
        self, estimates: list[Tensor], rainy: Tensor, clean: Tensor, step: int
    ) -> Iterator[tuple[str, Tensor]]:
        config = self._config
        *early, output = estimates
        if config.ssim:
            yield "ssim", 1 - ssim(output, clean).mean()
        if config.l1:
            yield "l1", F.l1_loss(output, clean)
        if self.contrastive is not None:
            yield "pcl", self.contrastive(output, clean, rainy)
        if self.similarity is not None:
            yield "lpisl", self.similarity(output, clean)
        if self.segmentation is not None and step >= config.ubs_start:
            yield "ubs", self.segmentation(output)
        if config.early_stages and early:
            yield "early_stages", torch.stack([F.l1_loss(e, clean) for e in early]).sum()
