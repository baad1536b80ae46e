"""Deraining single images: what `sapnet_first.yaml` and `sapnet_paper.yaml` train."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn

from sapnet_stream.networks.sapnet import SAPNet, SAPNetConfig
from sapnet_training.image_config import ImageConfig
from sapnet_training.objective import Objective
from sapnet_training.rain import SyntheticRain
from sapnet_training.seeds import seeded
from sapnet_training.task import Batch, Losses
from sapnet_training.training_images import Patches, TrainingImages, read_training_images
from sapnet_training.validation import Validation


class ImageTask:
    """Patches of photographs under synthetic rain, and a share of real pairs.

    Args:
        config: the recipe.
        images: to cut the patches from.
        device: of the rain and the network.
        backbone_weights: folder of ImageNet weights, see `imagenet_weights`.
    """

    def __init__(
        self,
        config: ImageConfig,
        images: TrainingImages,
        device: torch.device | str = "cpu",
        backbone_weights: Path | None = None,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.objective = Objective(config, backbone_weights).to(self.device)
        self.patches = Patches(images, self.device)
        masks = None if images.masks is None else images.masks.to(self.device)
        self.rain = SyntheticRain(config.rain, masks)
        self.validation = Validation(images, self.device)
        # One compiled graph serves every stage.
        self._stage = torch.compile(SAPNet.stage, dynamic=False) if config.compile else SAPNet.stage

    @classmethod
    def read(
        cls, config: ImageConfig, root: Path, device: torch.device, backbone_weights: Path | None
    ) -> Self:
        """With the images that the recipe names, see `read_training_images`."""
        side = max(phase.patch for phase in config.phases)
        images = read_training_images(config, root, side)
        print(images.summary(), file=sys.stderr)
        return cls(config, images, device, backbone_weights)

    def build(self) -> SAPNet:
        """See `Task`."""
        return SAPNet(SAPNetConfig(dilations=self.config.dilations))

    def batch(self, step: int, shard: int) -> Batch:
        """Rainy and clean patches of the step's phase, [N, 3, patch, patch] in [0, 1]."""
        config = self.config
        phase = config.phase(step)
        n = phase.batch // config.shards
        choice = seeded("patches", config.seed, step, shard)
        chosen = torch.rand(n, generator=choice) < config.pairs
        clean = self.patches.photographs(n, phase.patch, choice)
        drops = seeded("rain", config.seed, step, shard, device=self.device)
        rainy, target = self.rain(clean, drops)
        if chosen.any():
            real = self.patches.pairs(int(chosen.sum()), phase.patch, choice)
            chosen = chosen.to(self.device)
            rainy[chosen], target[chosen] = real
        return rainy.contiguous(memory_format=torch.channels_last), target

    def estimates(self, network: SAPNet, rainy: Tensor, stages: int) -> list[Tensor]:
        """Every stage's float32 estimate, first to last."""
        kind = getattr(torch, self.config.precision)
        image = rainy.to(kind)
        n, _, height, width = image.shape
        h = image.new_zeros(n, network.config.channels, height, width)
        h = c = h.contiguous(memory_format=torch.channels_last)
        estimate, out = image, []
        with torch.autocast(self.device.type, kind, enabled=kind != torch.float32):
            for _ in range(stages):
                estimate, h, c = self._stage(network, image, estimate, h, c)
                out.append(estimate.float())
        return out

    def losses(self, network: nn.Module, batch: Batch, step: int) -> Iterator[Losses]:
        """The recipe's total as "loss", and each of its terms unweighted."""
        rainy, clean = batch
        estimates = self.estimates(cast(SAPNet, network), rainy, self.config.phase(step).stages)
        loss, terms = self.objective(estimates, rainy, clean, step)
        yield {"loss": loss, **terms}

    def validate(self, network: nn.Module, step: int) -> dict[str, float]:
        """See `Validation.scores`; with the stages of the step's phase."""
        return self.validation.scores(cast(SAPNet, network), self.config.phase(step).stages)

    def pictures(self, network: nn.Module, step: int) -> dict[str, Tensor]:
        """See `Validation.pictures`."""
        return self.validation.pictures(cast(SAPNet, network), self.config.phase(step).stages)
