"""Trains a network by a recipe: `sapnet-train --config RECIPE --out FOLDER [key=value …]`.

Reads folders of `$SAPNET_DATA`. Writes `last.pt` (everything, to resume), `best.pt` (by
validation), `log.jsonl`, `curves.png` and `pictures/`. Several processes train one network
when torchrun starts them: `torchrun --nproc-per-node 2 -m sapnet_training.train …`.
"""

import argparse
import math
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from sapnet_stream.errors import UsageError
from sapnet_training.checkpoint import load_checkpoint, load_weights
from sapnet_training.command import command
from sapnet_training.config import TrainConfig
from sapnet_training.journal import Journal
from sapnet_training.processes import Processes
from sapnet_training.recipe import load_config, make_task
from sapnet_training.run import Run, steps_within
from sapnet_training.run_folder import check_new, check_resumable, claimed
from sapnet_training.trainer import Trainer

YEAR_MINUTES = 365 * 24 * 60


def data_folder() -> Path:
    """`$SAPNET_DATA`."""
    root = os.environ.get("SAPNET_DATA")
    if not root:
        raise UsageError("set SAPNET_DATA to the folder that the recipe's folders are in")
    return Path(root)


def run(options: argparse.Namespace, began: float) -> None:
    """What the command does; `began` is when, on the monotonic clock."""
    config = load_config(options.config, options.overrides)
    if not options.max_minutes > 0:
        raise UsageError(f"--max-minutes must be above 0, got {options.max_minutes}")
    if options.budget_minutes is not None and not 0 < options.budget_minutes <= YEAR_MINUTES:
        raise UsageError(
            f"--budget-minutes must be above 0 and at most {YEAR_MINUTES}, a year, "
            f"got {options.budget_minutes}"
        )
    if not options.resume:
        check_new(options.out)
    elif options.start is not None:
        raise UsageError("--start begins a run and --resume goes on with one: give one of them")
    last = options.out / "last.pt"
    parts = load_checkpoint(last) if options.resume else None
    if options.budget_minutes is not None and parts:  # the first run has measured
        config = config.scaled(parts["config"]["steps"])
    if parts and (changes := check_resumable(parts, config, last)):
        print(f"the recipe has changed since {last}: {changes}", file=sys.stderr)
    processes = Processes(options.device)
    with claimed(options.out) if processes.rank == 0 else nullcontext():
        _train(config, parts, processes, options, began)
    processes.leave()


def _train(
    config: TrainConfig,
    parts: dict[str, Any] | None,
    processes: Processes,
    options: argparse.Namespace,
    began: float,
) -> None:
    """Goes on from `parts`; without them from the beginning, or from `--start`."""
    data = data_folder()
    task = make_task(config, data, processes.device, options.backbone_weights)
    if options.budget_minutes is not None and not parts:
        config = config.scaled(steps_within(options.budget_minutes, config, task, processes))
        task = make_task(config, data, processes.device, options.backbone_weights)
    trainer = Trainer(config, task, processes)
    if parts:
        trainer.restore(parts)
    elif options.start is not None:
        trainer.start_from(load_weights(options.start, trainer.network))
    with Journal(trainer, options.out, options.tensorboard) as journal:
        Run(trainer, journal, options.out, options.max_minutes, began).go()
    if processes.rank == 0 and trainer.step < config.steps:
        print(
            f"stopped at step {trainer.step} of {config.steps}; --resume goes on", file=sys.stderr
        )


@command
def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(prog="sapnet-train", description="Trains a network.")
    parser.add_argument("--config", type=Path, required=True, metavar="YAML")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--resume", action="store_true", help="go on from FOLDER/last.pt")
    parser.add_argument(
        "--start", metavar="WEIGHTS", help="begin with those of another run's .pt, or bundled ones"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--max-minutes", type=float, default=math.inf, help="stop, saved, inside this time"
    )
    parser.add_argument(
        "--budget-minutes",
        type=float,
        help="measure, and stretch or shrink the whole schedule to about this long",
    )
    parser.add_argument("--tensorboard", action="store_true", help="write FOLDER/tensorboard too")
    parser.add_argument(
        "--backbone-weights",
        type=Path,
        metavar="FOLDER",
        help="ImageNet weights for the losses, NAME.safetensors; default: torchvision downloads",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    run(parser.parse_intermixed_args(), began)


if __name__ == "__main__":
    sys.exit(main())
