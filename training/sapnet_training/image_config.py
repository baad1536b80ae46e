"""The recipe of a network that derains single images."""

from dataclasses import dataclass, field, replace
from typing import Self

from sapnet_stream.errors import UsageError
from sapnet_stream.networks.sapnet import SAPNetConfig
from sapnet_training.backbone import NAMES
from sapnet_training.config import TrainConfig
from sapnet_training.perceptual_similarity import SMALLEST_PX, TRUNKS
from sapnet_training.phases import Phase, check_starts, phase_at, scaled_phases
from sapnet_training.rain import check_mixture

STAGES = SAPNetConfig().stages


@dataclass(frozen=True)
class ImagePhase(Phase):
    """What a batch looks like from a step on: [batch, 3, patch, patch], `stages` stages."""

    batch: int
    patch: int
    stages: int


@dataclass(frozen=True)
class ImageConfig(TrainConfig):
    """One recipe.

    Attributes:
        phases: by ascending `start`, the first 0.
        rain: preset name to share of the samples, see `rain_presets.PRESETS`.
        pairs: share of the samples that are pairs of `pair_sets`.
        ssim: weight of 1 - SSIM.
        l1: weight of the mean absolute error.
        pcl: weight of the perceptual contrastive loss.
        lpisl: weight of the learned perceptual image similarity loss.
        lpips_trunk: its network, "alex", "vgg" or "squeeze".
        ubs: weight of the unsupervised background segmentation.
        ubs_backbone: its network, "resnet101", "resnet50", "resnet18" or "vgg16".
        ubs_start: step at which it sets in.
        imagenet_normalisation: of what PCL and UBS look at; false as in the paper's code.
        early_stages: weight of the mean absolute error of each stage before the last.
        dilations: of the network's five units; all 1 is the paper's "no dilation".
    """

    phases: tuple[ImagePhase, ...] = (ImagePhase(0, 8, 64, 6),)
    rain: dict[str, float] = field(default_factory=lambda: {"dry": 0.1, "light": 0.9})
    pairs: float = 0.0
    ssim: float = 1.0
    l1: float = 0.0
    pcl: float = 0.0
    lpisl: float = 0.0
    lpips_trunk: str = "alex"
    ubs: float = 0.0
    ubs_backbone: str = "resnet101"
    ubs_start: int = 0
    imagenet_normalisation: bool = True
    early_stages: float = 0.0
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers:
            raise UsageError("workers is for videos: images get their rain where the network is")
        check_starts(self.phases)
        for phase in self.phases:
            if phase.batch < 1 or not 1 <= phase.stages <= STAGES or phase.patch < 11:
                raise UsageError(
                    f"a phase needs batch >= 1, stages of 1 to {STAGES} and patch >= 11 pixels, "
                    f"got {phase}"
                )
            if phase.batch % self.shards:
                raise UsageError(f"{self.shards} shards must divide the batch, got {phase}")
        if not 0 <= self.pairs <= 1:
            raise UsageError(f"pairs must be in [0, 1], got {self.pairs}")
        if self.pairs and not self.pair_sets:
            raise UsageError("pairs above 0 needs pair_sets")
        if len(self.dilations) != 5:
            raise UsageError(f"dilations must be five numbers, got {self.dilations}")
        SAPNetConfig(dilations=self.dilations)  # says what is wrong with them
        check_mixture(self.rain, masked=bool(self.masks))
        self._check_losses()

    def _check_losses(self) -> None:
        self.check_not_negative("ssim", "l1", "pcl", "lpisl", "ubs", "early_stages", "ubs_start")
        if not self.ssim + self.l1 + self.pcl + self.lpisl:
            raise UsageError("one of ssim, l1, pcl and lpisl must be above 0")
        self.check_choice("lpips_trunk", TRUNKS)
        self.check_choice("ubs_backbone", NAMES)
        smallest = min(phase.patch for phase in self.phases)
        if self.lpisl and smallest < SMALLEST_PX:
            raise UsageError(f"lpisl needs patches of {SMALLEST_PX} pixels, got {smallest}")

    def phase(self, step: int) -> ImagePhase:
        """The phase `step` is in."""
        return phase_at(self.phases, step)

    def scaled(self, steps: int) -> Self:
        """The same schedule over another number of steps, phases and UBS with it."""
        share = steps / self.steps
        return replace(
            super().scaled(steps),
            phases=scaled_phases(self.phases, share),
            ubs_start=round(self.ubs_start * share),
        )
