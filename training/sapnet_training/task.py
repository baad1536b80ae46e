"""What a trainer trains: the little it needs to know of images, clips or anything else."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor, nn

Batch = tuple[Tensor, ...]
Losses = dict[str, Tensor]
"""Named scalars; "loss" is the one with a graph, the others are for the log."""


class Task(Protocol):
    """Everything that differs from one thing trained to another.

    A task keeps nothing from step to step, so a run that resumes needs none of it back.
    """

    def build(self) -> nn.Module:
        """The network to train, on the CPU, initialised from torch's global generator."""
        ...

    def batch(self, step: int, shard: int) -> Batch:
        """One of `config.shards` equal parts of a step's batch.

        The same for the same step and shard. Called on a thread while the step before runs, or
        in a process that has no GPU.
        """
        ...

    def losses(self, network: nn.Module, batch: Batch, step: int) -> Iterator[Losses]:
        """One optimizer step each: one for images; for clips one per segment of truncated
        backpropagation through time, the state carried on without its graph.

        Every shard of a step must yield equally often.
        """
        ...

    def validate(self, network: nn.Module, step: int) -> dict[str, float]:
        """Scores of a fixed held-out set; the largest "score" is the best checkpoint."""
        ...

    def pictures(self, network: nn.Module, step: int) -> dict[str, Tensor]:
        """Caption to [3, H, W] uint8 RGB of one size, to look at beside the scores."""
        ...
