"""A training recipe: one YAML file, checked before anything is computed."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from sapnet_stream.errors import UsageError
from sapnet_training.backbone import NAMES
from sapnet_training.perceptual_similarity import SMALLEST_PX, TRUNKS


@dataclass(frozen=True)
class Phase:
    """What a batch looks like from a step on: [batch, 3, patch, patch], `stages` stages."""

    start: int
    batch: int
    patch: int
    stages: int


@dataclass(frozen=True)
class TrainConfig:
    """One recipe.

    Attributes:
        seed: of the weights, the patches and the rain.
        steps: optimizer steps in all; the learning rate reaches its floor at the last.
        phases: by ascending `start`, the first 0.
        rain: preset name to share of the samples, see `rain.PRESETS`.
        pairs: share of the samples that are real pairs of RainTrainH.
        learning_rate: at its highest.
        warmup: steps of linear rise to `learning_rate`.
        hold: share of the steps before the cosine to `floor` begins.
        floor: lowest learning rate, as a share of the highest.
        weight_decay: of AdamW.
        clip: largest gradient norm.
        ema: decay of the averaged weights, which are the ones measured and exported.
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
        bf16: bfloat16 images and states; weights and their updates stay float32.
        compile: torch.compile the stage.
        threads: of the CPU.
        save_minutes: between checkpoints.
        validate: steps between validations.
    """

    seed: int = 0
    steps: int = 10_000
    phases: tuple[Phase, ...] = (Phase(0, 8, 64, 6),)
    rain: dict[str, float] = field(default_factory=lambda: {"dry": 0.1, "light": 0.9})
    pairs: float = 0.0
    learning_rate: float = 1e-3
    warmup: int = 100
    hold: float = 0.0
    floor: float = 0.01
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.999
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
    bf16: bool = False
    compile: bool = False
    threads: int = 1
    save_minutes: float = 3.0
    validate: int = 500

    def __post_init__(self) -> None:
        if not self.phases or [p.start for p in self.phases] != sorted(
            {0, *(p.start for p in self.phases)}
        ):
            raise UsageError(f"phases must start at 0 and ascend, got {self.phases}")
        for phase in self.phases:
            if min(phase.batch, phase.stages) < 1 or phase.patch < 11:
                raise UsageError(
                    f"a phase needs batch and stages >= 1 and patch >= 11 pixels, got {phase}"
                )
        for name in ("steps", "threads", "validate", "learning_rate", "clip", "save_minutes"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("pairs", "hold", "floor", "ema"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        self._check_losses()

    def _check_losses(self) -> None:
        for name in ("ssim", "l1", "pcl", "lpisl", "ubs", "early_stages", "ubs_start"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not self.ssim + self.l1 + self.pcl + self.lpisl:
            raise UsageError("one of ssim, l1, pcl and lpisl must be above 0")
        if self.lpips_trunk not in TRUNKS:
            raise UsageError(f"lpips_trunk must be {_either(TRUNKS)}, got {self.lpips_trunk!r}")
        if self.ubs_backbone not in NAMES:
            raise UsageError(f"ubs_backbone must be {_either(NAMES)}, got {self.ubs_backbone!r}")
        smallest = min(phase.patch for phase in self.phases)
        if self.lpisl and smallest < SMALLEST_PX:
            raise UsageError(f"lpisl needs patches of {SMALLEST_PX} pixels, got {smallest}")

    def phase(self, step: int) -> Phase:
        """The phase `step` is in."""
        return max((p for p in self.phases if p.start <= step), key=lambda p: p.start)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as YAML holds them."""
        plain = asdict(self)
        plain["phases"] = [asdict(phase) for phase in self.phases]
        plain["dilations"] = list(self.dilations)
        return plain


def load_config(path: Path, overrides: list[str] | None = None) -> TrainConfig:
    """Reads a recipe and applies `key=value` overrides, the values being YAML.

    Raises:
        UsageError: missing file, YAML error, unknown key, or a value out of range.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no recipe at {path}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} must be a mapping of keys to values")
    for override in overrides or []:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"an override is key=value, got {override!r}")
        values[key] = yaml.safe_load(value)
    return config_from_dict(values)


def config_from_dict(values: dict[str, Any]) -> TrainConfig:
    """A recipe from plain values; unknown keys and wrong types are refused."""
    known = {f.name: f for f in fields(TrainConfig)}
    for key, value in values.items():
        if key not in known:
            raise UsageError(f"unknown key {key!r}; a recipe has {', '.join(known)}")
        kind = known[key].type
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            continue
        if kind in (int, float, bool, str) and type(value) is not kind:
            raise UsageError(f"{key} must be {kind.__name__}, got {value!r}")
    if "phases" in values:
        try:
            values = {**values, "phases": tuple(Phase(**phase) for phase in values["phases"])}
        except TypeError as error:
            raise UsageError(f"each phase has start, batch, patch, stages: {error}") from error
    if "dilations" in values:
        values = {**values, "dilations": _dilations(values["dilations"])}
    return TrainConfig(**values)


def _dilations(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != 5 or not all(type(d) is int for d in value):
        raise UsageError(f"dilations must be a list of five whole numbers, got {value!r}")
    return tuple(value)


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)
