"""The phases of a recipe: what its batches look like changes as a run goes on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sapnet_stream.errors import UsageError


@dataclass(frozen=True)
class Phase:
    """Lasts until the next one starts.

    Attributes:
        start: first step.
    """

    start: int


AnyPhase = TypeVar("AnyPhase", bound=Phase)


def check_starts(phases: Sequence[Phase]) -> None:
    """Raises UsageError unless the first starts at 0 and each later than the one before."""
    starts = [phase.start for phase in phases]
    if not starts or starts != sorted({0, *starts}):
        raise UsageError(f"phases must start at 0 and ascend, got {tuple(phases)}")


def phase_at(phases: Sequence[AnyPhase], step: int) -> AnyPhase:
    """The phase `step` is in."""
    return max((p for p in phases if p.start <= step), key=lambda p: p.start)


def scaled_phases(phases: Sequence[AnyPhase], share: float) -> tuple[AnyPhase, ...]:
    """The same phases in a run `share` times as long; one too short for a step is left out."""
    scaled = [replace(phase, start=round(phase.start * share)) for phase in phases]
    return tuple({phase.start: phase for phase in scaled}.values())
