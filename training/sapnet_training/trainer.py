"""One update of a network after another, whatever the task."""

import copy
import math
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from sapnet_stream.errors import SapnetError
from sapnet_training.config import TrainConfig
from sapnet_training.prefetch import Prefetch
from sapnet_training.processes import Processes
from sapnet_training.task import Batch, Losses, Task


class TrainingError(SapnetError):
    """The run cannot go on."""


class DivergedError(TrainingError):
    """Too many losses in a row were not finite; `batches` gave the last of them."""

    def __init__(self, message: str, batches: list[Batch]) -> None:
        super().__init__(message)
        self.batches = batches


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear rise; then hold and half a cosine to the floor, or a fall at each milestone."""
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    if config.schedule == "steps":
        fall = config.gamma ** sum(step >= milestone for milestone in config.milestones)
    else:
        start = config.hold * config.steps
        part = min(1.0, max(0.0, (step - start) / max(1.0, config.steps - start)))
        fall = config.floor + (1 - config.floor) * (1 + math.cos(math.pi * part)) / 2
    return config.learning_rate * rise * fall


class Trainer:
    """One run: the network, its average, the optimizer, the position in the data.

    Attributes:
        step: batches done.
        seconds: spent on them, in all resumed runs together.
        samples: drawn by all processes since this trainer was built.
        skipped: updates left out because the loss or its gradient was not finite.
        losses: of the steps that no line of the log tells of yet; see `Journal`.
    """

    def __init__(self, config: TrainConfig, task: Task, processes: Processes | None = None) -> None:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config = config
        self.task = task
        self.processes = processes or Processes("cpu")
        self._shards = self.processes.shards(config.shards)
        self.device = self.processes.device
        self.network = task.build().to(memory_format=torch.channels_last).to(self.device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
        # Listed once: looking for a module's parameters takes as long as updating them.
        self._weights: list[Tensor] = list(self.network.parameters())
        self._averages: list[Tensor] = list(self.average.parameters())
        self.optimizer = kind(self._weights, weight_decay=config.weight_decay, fused=True)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")
        pin = self.device.type == "cuda"
        self.prefetch = Prefetch(self._draw, config.threads, config.workers, pin)
        self.step = 0
        self.seconds = 0.0
        self.samples = 0
        self.best = -math.inf
        self.skipped = 0
        self.losses: list[dict[str, float]] = []
        self._skipped_in_a_row = 0

    def parts(self) -> dict[str, Any]:
        """Everything `restore` needs."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "skipped": self.skipped,
            "losses": self.losses,
            "config": self.config.to_dict(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
        }

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begins at step 0 with weights of an earlier run."""
        self.network.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def restore(self, parts: dict[str, Any]) -> None:
        """Goes on where `parts` were saved; the recipe is this trainer's own.

        Batches depend on the step alone, so the step is the position in the data.
        """
        self.step, self.seconds, self.best = parts["step"], parts["seconds"], parts["best"]
        self.skipped, self.losses = parts.get("skipped", 0), list(parts.get("losses", []))
        self.network.load_state_dict(parts["network"])
        self.average.load_state_dict(parts["average"])
        self.optimizer.load_state_dict(parts["optimizer"])
        for group in self.optimizer.param_groups:  # what a state holds besides the moments
            group["weight_decay"] = self.config.weight_decay
        if parts.get("scaler"):
            self.scaler.load_state_dict(parts["scaler"])
        if "rng" in parts:  # checkpoints before the first release lack it
            torch.set_rng_state(parts["rng"])

    def advance(self) -> dict[str, float]:
        """One batch; its losses, averaged over shards and optimizer steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        batches = self.prefetch.get(self.step)
        runs = [self.task.losses(self.network, batch, self.step) for batch in batches]
        updates = []
        while parts := [self._backward(losses) for run in runs for losses in islice(run, 1)]:
            losses = self._sum(parts)
            self._update(losses, batches)
            updates.append(losses)
        self.step += 1
        self.samples += self.processes.count * sum(len(batch[0]) for batch in batches)
        return {name: sum(losses[name] for losses in updates) / len(updates) for name in updates[0]}

    def _draw(self, step: int) -> list[Batch]:
        if step >= self.config.steps:
            return []
        return [self.task.batch(step, shard) for shard in self._shards]

    def _backward(self, losses: Losses) -> Losses:
        torch.autograd.backward(self.scaler.scale(losses["loss"] / self.config.shards))
        return {name: value.detach() for name, value in losses.items()}

    def _sum(self, parts: list[Losses]) -> dict[str, float]:
        """Sums gradients over the processes; the mean losses over the shards."""
        names = list(parts[0])
        rows = [torch.stack([part[name] for name in names]) for part in parts]
        means = torch.stack(rows).sum(0).float() / self.config.shards
        gradients = [p.grad for p in self._weights if p.grad is not None]
        self.processes.sum([*gradients, means])
        return dict(zip(names, means.tolist(), strict=True))

    def _update(self, losses: dict[str, float], batches: list[Batch]) -> None:
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self._weights, self.config.clip)
        if math.isfinite(losses["loss"]) and bool(torch.isfinite(norm)):
            self.scaler.step(self.optimizer)
            self._average()
            self._skipped_in_a_row = 0
        else:
            self.skipped += 1
            self._skipped_in_a_row += 1
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self._skipped_in_a_row >= self.config.most_skipped:
            raise DivergedError(
                f"{self._skipped_in_a_row} losses in a row were not finite, the last at step "
                f"{self.step}: lower learning_rate, or look at the saved batch",
                batches,
            )

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.config.ema, (self.step + 1) / (self.step + 11))
        torch._foreach_lerp_(self._averages, self._weights, 1 - keep)
        for old, new in zip(self.average.buffers(), self.network.buffers(), strict=True):
            old.copy_(new)
