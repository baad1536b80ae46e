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
from pathlib import Path

from sapnet_stream.errors import UsageError
from sapnet_training.checkpoint import load_checkpoint, load_weights
from sapnet_training.command import command
from sapnet_training.journal import Journal
from sapnet_training.processes import Processes
from sapnet_training.recipe import load_config, make_task
from sapnet_training.run import Run, steps_within
from sapnet_training.trainer import Trainer


def data_folder() -> Path:
    """`$SAPNET_DATA`."""
    root = os.environ.get("SAPNET_DATA")
    if not root:
        raise UsageError("set SAPNET_DATA to the folder that the recipe's folders are in")
    return Path(root)


def run(options: argparse.Namespace, began: float) -> None:
    """What the command does; `began` is when, on the monotonic clock."""
    config = load_config(options.config, options.overrides)
    last = options.out / "last.pt"
    if last.exists() and not options.resume:
        raise UsageError(f"{last} exists; give --resume to go on, or another --out")
    if options.resume and options.start is not None:
        raise UsageError("--start begins a run and --resume goes on with one: give one of them")
    parts = load_checkpoint(last) if options.resume else None
    processes = Processes(options.device)
    budget = options.budget_minutes
    if budget is not None and parts:  # the first run has measured
        config = config.scaled(parts["config"]["steps"])
    data = data_folder()
    task = make_task(config, data, processes.device, options.backbone_weights)
    if budget is not None and not parts:
        config = config.scaled(steps_within(budget, config, task, processes))
        task = make_task(config, data, processes.device, options.backbone_weights)
    trainer = Trainer(config, task, processes)
    if parts:
        trainer.restore(parts)
    elif options.start is not None:
        trainer.start_from(load_weights(options.start, trainer.network))
    options.out.mkdir(parents=True, exist_ok=True)
    with Journal(trainer, options.out, options.tensorboard) as journal:
        Run(trainer, journal, options.out, options.max_minutes, began).go()
    processes.leave()


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
