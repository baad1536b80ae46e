"""Trains SAPNet on synthetic rain: `python -m sapnet_training.trainer --config RECIPE`.

Reads `$SAPNET_DATA/train`. Writes to the folder given by `--out`: `last.pt` (everything,
to resume), `best.pt` (by validation) and `log.jsonl`.
"""

import argparse
import copy
import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sapnet_stream.errors import SapnetError, UsageError
from sapnet_stream.networks.sapnet import SAPNet, SAPNetConfig
from sapnet_training.checkpoint import load_checkpoint, save_checkpoint
from sapnet_training.config import TrainConfig, load_config
from sapnet_training.data import Patches, TrainingImages, read_training_images
from sapnet_training.objective import Objective
from sapnet_training.rain import SyntheticRain
from sapnet_training.validation import Validation


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear rise, hold, then half a cosine that reaches the floor at the last step."""
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    start = config.hold * config.steps
    part = min(1.0, max(0.0, (step - start) / max(1.0, config.steps - start)))
    fall = config.floor + (1 - config.floor) * (1 + math.cos(math.pi * part)) / 2
    return config.learning_rate * rise * fall


class Trainer:
    """One run: the network, its average, the objective, the optimizer, the data's position."""

    def __init__(
        self, config: TrainConfig, images: TrainingImages, backbone_weights: Path | None = None
    ) -> None:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config = config
        network = SAPNet(SAPNetConfig(dilations=config.dilations))
        self.network = network.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        # One compiled graph serves every stage.
        self._stage = torch.compile(SAPNet.stage, dynamic=False) if config.compile else SAPNet.stage
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=config.weight_decay
        )
        self.objective = Objective(config, backbone_weights)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.patches = Patches(images)
        self.rain = SyntheticRain(config.rain, images.masks)
        self.step = 0
        self.seconds = 0.0
        self.best = -math.inf

    def parts(self) -> dict[str, Any]:
        """Everything `restore` needs."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "config": self.config.to_dict(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "data_rng": self.generator.get_state(),
        }

    def restore(self, parts: dict[str, Any]) -> None:
        """Goes on where `parts` were saved; the recipe is this trainer's own."""
        self.step, self.seconds, self.best = parts["step"], parts["seconds"], parts["best"]
        self.network.load_state_dict(parts["network"])
        self.average.load_state_dict(parts["average"])
        self.optimizer.load_state_dict(parts["optimizer"])
        self.generator.set_state(parts["data_rng"])

    def batch(self) -> tuple[Tensor, Tensor]:
        """Rainy and clean patches of the current phase, [N, 3, patch, patch] in [0, 1]."""
        phase = self.config.phase(self.step)
        chosen = torch.rand(phase.batch, generator=self.generator) < self.config.pairs
        clean = self.patches.photographs(phase.batch, phase.patch, self.generator)
        rainy, target = self.rain(clean, self.generator)
        if chosen.any():
            count = int(chosen.sum())
            rainy[chosen], target[chosen] = self.patches.pairs(count, phase.patch, self.generator)
        return rainy.contiguous(memory_format=torch.channels_last), target

    def estimates(self, rainy: Tensor, stages: int) -> list[Tensor]:
        """Every stage's float32 estimate, first to last."""
        config = self.config
        image = rainy.to(torch.bfloat16) if config.bf16 else rainy
        n, _, height, width = image.shape
        h = image.new_zeros(n, self.network.config.channels, height, width)
        h = c = h.contiguous(memory_format=torch.channels_last)
        estimate, out = image, []
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            for _ in range(stages):
                estimate, h, c = self._stage(self.network, image, estimate, h, c)
                out.append(estimate.float())
        return out

    def advance(self) -> dict[str, float]:
        """One optimizer step; the total "loss" before it and each of its terms, unweighted."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        rainy, clean = self.batch()
        estimates = self.estimates(rainy, self.config.phase(self.step).stages)
        loss, terms = self.objective(estimates, rainy, clean, self.step)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        if not torch.isfinite(norm):
            raise TrainingError(f"the gradient is not finite at step {self.step}")
        self.optimizer.step()
        self.step += 1
        keep = min(self.config.ema, self.step / (self.step + 10))
        with torch.no_grad():
            for average, now in zip(
                self.average.parameters(), self.network.parameters(), strict=True
            ):
                average.lerp_(now, 1 - keep)
        values = torch.stack((loss.detach(), *terms.values())).tolist()
        return dict(zip(("loss", *terms), values, strict=True))


class TrainingError(SapnetError):
    """The run cannot go on."""


def means(losses: list[dict[str, float]]) -> dict[str, float]:
    """Of each name over the steps that have it: a term may set in late."""
    names = {name: None for step in losses for name in step}
    columns = {name: [step[name] for step in losses if name in step] for name in names}
    return {name: round(sum(values) / len(values), 5) for name, values in columns.items()}


def train(trainer: Trainer, validation: Validation, out: Path, max_minutes: float) -> None:
    """Runs to the recipe's last step, the time limit or SIGTERM, and saves where it stops."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config = trainer.config
    began = saved = time.monotonic()
    spent = trainer.seconds
    losses: list[dict[str, float]] = []
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        while trainer.step < config.steps:
            losses.append(trainer.advance())
            now = time.monotonic()
            trainer.seconds = spent + now - began
            over = stop.is_set() or now - began > max_minutes * 60
            if trainer.step % config.validate == 0 or trainer.step == config.steps:
                scores = validation.scores(trainer.average, config.phase(trainer.step).stages)
                record = {
                    "step": trainer.step,
                    "seconds": round(trainer.seconds),
                    **means(losses),
                    "learning_rate": learning_rate(config, trainer.step),
                    **scores,
                }
                log.write(json.dumps(record) + "\n")
                log.flush()
                print(record, flush=True)
                losses = []
                if scores["mean"] > trainer.best:
                    trainer.best = scores["mean"]
                    save_checkpoint(out / "best.pt", trainer.parts())
            if over or now - saved > config.save_minutes * 60 or trainer.step == config.steps:
                save_checkpoint(out / "last.pt", trainer.parts())
                saved = time.monotonic()
            if over:
                return


def training_folder() -> Path:
    """`$SAPNET_DATA/train`."""
    root = os.environ.get("SAPNET_DATA")
    if not root:
        raise UsageError("set SAPNET_DATA to the folder that holds train/")
    return Path(root) / "train"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sapnet_training.trainer")
    parser.add_argument("--config", type=Path, required=True, metavar="YAML")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--resume", action="store_true", help="go on from FOLDER/last.pt")
    parser.add_argument("--max-minutes", type=float, default=math.inf)
    parser.add_argument(
        "--backbone-weights",
        type=Path,
        metavar="FOLDER",
        help="ImageNet weights for the losses, NAME.safetensors; default: torchvision downloads",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_args()
    try:
        config = load_config(options.config, options.overrides)
        last = options.out / "last.pt"
        if last.exists() and not options.resume:
            raise UsageError(f"{last} exists; give --resume to go on, or another --out")
        images = read_training_images(training_folder())
        trainer = Trainer(config, images, options.backbone_weights)
        if options.resume:
            trainer.restore(load_checkpoint(last))
        options.out.mkdir(parents=True, exist_ok=True)
        train(trainer, Validation(images), options.out, options.max_minutes)
    except SapnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
