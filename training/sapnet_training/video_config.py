"""The recipe of a network that derains video with a memory."""

from dataclasses import dataclass, replace
from typing import Self

from sapnet_stream.errors import UsageError
from sapnet_stream.networks.sapnet_video import FIRST_LOOKS
from sapnet_training.config import TrainConfig
from sapnet_training.phases import Phase, check_starts, phase_at, scaled_phases


@dataclass(frozen=True)
class ClipPhase(Phase):
    """What a batch looks like from a step on.

    Attributes:
        clips: side by side.
        frames: of a segment, which gradients flow through.
        patch: height and width, pixels.
    """

    clips: int
    frames: int
    patch: int


@dataclass(frozen=True)
class VideoConfig(TrainConfig):
    """One recipe.

    Attributes:
        phases: by ascending `start`, the first 0.
        segments: a batch's clips last one of these, drawn with equal chance; the state goes on
            from segment to segment, each of which is an optimizer step.
        l1: weight of the mean absolute error.
        ssim: weight of 1 - SSIM of grey frames.
        temporal: weight of the mean absolute error of the change from frame to frame.
    """

    task: str = "video"
    phases: tuple[ClipPhase, ...] = (ClipPhase(0, 4, 4, 96),)
    segments: tuple[int, ...] = (1, 2, 3, 4, 6)
    l1: float = 1.0
    ssim: float = 0.1
    temporal: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_starts(self.phases)
        for phase in self.phases:
            if phase.clips < 1 or phase.frames < FIRST_LOOKS or phase.patch < 32 or phase.patch % 2:
                raise UsageError(
                    f"a phase needs clips >= 1, frames >= {FIRST_LOOKS} and an even patch >= 32, "
                    f"got {phase}"
                )
            if phase.clips % self.shards:
                raise UsageError(f"{self.shards} shards must divide the clips, got {phase}")
        if not self.segments or min(self.segments) < 1:
            raise UsageError(f"segments must be 1 or more, got {self.segments}")
        self.check_not_negative("l1", "ssim", "temporal")
        if not self.masks:
            raise UsageError("masks must name a folder: rain on videos is drawn from them too")
        if not self.l1 + self.ssim:
            raise UsageError("l1 or ssim must be above 0")

    def phase(self, step: int) -> ClipPhase:
        """The phase `step` is in."""
        return phase_at(self.phases, step)

    def scaled(self, steps: int) -> Self:
        """The same schedule over another number of steps, phases with it."""
        phases = scaled_phases(self.phases, steps / self.steps)
        return replace(super().scaled(steps), phases=phases)
