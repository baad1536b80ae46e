"""Packs what a short training slot on another machine needs: `make gpu-train`.

That machine has this repository, PyTorch, Pillow and PyYAML, and nothing else of ours: data,
weights of the losses, the recipe and the checkpoint to go on from travel in one folder.
"""

import argparse
import hashlib
import importlib.util
import io
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import yaml
from PIL import Image

from sapnet_stream.errors import OutputError, UsageError, WeightsError
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import find_weights
from sapnet_training.checkpoint import load_checkpoint, load_weights
from sapnet_training.command import command
from sapnet_training.config import TrainConfig
from sapnet_training.data import image_files, read_image
from sapnet_training.image_config import ImageConfig
from sapnet_training.pairs import find_pairs, read_pair
from sapnet_training.recipe import load_config
from sapnet_training.run_folder import check_resumable
from sapnet_training.scenes import Scenes
from sapnet_training.train import data_folder
from sapnet_training.training_images import scenes_left_out, validates
from sapnet_training.validation import MOST_IMAGES
from sapnet_training.video_config import VideoConfig

LIMIT_BYTES = 40 * 10**6
SHARE = 0.22
"""Of the room for data, for masks, and again for pairs; photographs take the rest."""

WEIGHTS = ("vgg16_features_relu4_3.safetensors", "squeezenet1_1.safetensors")
RUN_FILES = ("last.pt", "best.pt", "log.jsonl")
SCRIPT = """#!/bin/bash
# Trains for one slot; run from the root of the repository, results go to the folder $OUT.
set -euo pipefail
slot="$(cd "$(dirname "$0")" && pwd)"
export PYTHONPATH="$slot/packages:$PWD:$PWD/kernels:$PWD/training" SAPNET_DATA="$slot/data"
export PYTHONUNBUFFERED=1
mkdir -p "$OUT"
cp -r "$slot/run/." "$OUT/"
watch=""
if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits -l 2 > "$OUT/gpu.csv" &
    watch=$!
fi
finish() {{
    if [ -n "$watch" ]; then
        # It may have ended by itself, with nothing written: the pictures are packed all the same.
        kill "$watch" || true
        awk '{{ sum += $1 }} END {{ if (NR) print "GPU utilisation: " sum / NR " %" }}' \\
            "$OUT/gpu.csv"
    fi
    if [ -d "$OUT/pictures" ]; then
        tar -C "$OUT" -cf "$OUT/pictures.tar" pictures
        rm -r "$OUT/pictures"
    fi
}}
trap finish EXIT
python3 -m sapnet_training.train --config "$slot/recipe.yaml" --out "$OUT" \\
    --backbone-weights "$slot/weights" {options} 2>&1 | tee "$OUT/train.log"
"""


def pack(slot: Path, config: TrainConfig, root: Path, weights: Path, run: Path | None) -> str:
    """Fills the folder; returns a line that says with what.

    Args:
        slot: does not exist yet.
        config: of the run.
        root: folder of the data.
        weights: folder of the losses' networks, those of `WEIGHTS`.
        run: folder of the slot before, or None.

    Raises:
        InputError: a file of the recipe is missing.
        UsageError: a folder of it is not below `root`, or LPIPS is not installed.
        WeightsError: a network of the losses is missing.
    """
    sets = config.pair_sets if isinstance(config, ImageConfig) and config.pairs else ()
    _check_below([*config.photographs, config.masks, *sets], root)
    (slot / "run").mkdir(parents=True)
    (slot / "packages").mkdir()
    for file in [run / name for name in RUN_FILES] if run is not None else []:
        if file.exists():
            shutil.copy(file, slot / "run")
    _copy_losses(slot, config, weights)
    room = LIMIT_BYTES - sum(p.stat().st_size for p in (slot / "weights").iterdir())
    masks = image_files(root / config.masks) if config.masks else []
    mask_count = _fill(slot, root, ([p] for p in _shuffled(masks)), SHARE * room, grey=True)
    tests = scenes_left_out(config, root)
    pairs = [p for source in sets for p in find_pairs(source, root)]
    pairs = [pair for pair in pairs if read_pair(pair)[-3:] not in tests]
    files = ([p.rainy, p.clean] for p in sorted(pairs, key=lambda p: _order(p.clean)))
    pair_count = _fill(slot, root, files, SHARE * room)
    used = sum(p.stat().st_size for p in (slot / "data").rglob("*") if p.is_file())
    photographs = _photographs(config, root, tests)
    count = _fill(slot, root, ([p] for p in photographs), room - used)
    plain = {**config.to_dict(), "leave_out": []}  # the scenes are left out already
    (slot / "recipe.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    return (
        f"{count} of {len(photographs)} photographs, {mask_count} of {len(masks)} masks, "
        f"{pair_count} of {len(pairs)} pairs"
    )


def _check_below(sources: Iterable[str], root: Path) -> None:
    """Files keep their places in the slot, so these must be places below `root`."""
    for folder in (part for source in sources for part in source.split(":")):
        if Path(folder).is_absolute() or ".." in Path(folder).parts:
            raise UsageError(
                f"{folder} must be named from {root} on to travel: put it there, or a link to it"
            )


def _copy_losses(slot: Path, config: TrainConfig, weights: Path) -> None:
    """Networks that the recipe's losses look through, and the package of one of them."""
    (slot / "weights").mkdir()
    values = config.to_dict()
    wanted = (values.get("pcl") or values.get("ubs"), values.get("lpisl"))
    for name, needed in zip(WEIGHTS, wanted, strict=True):
        if needed and not (weights / name).exists():
            raise WeightsError(f"the recipe's losses need {weights / name}: put it there")
        if needed:
            shutil.copy(weights / name, slot / "weights" / name)
    if values.get("lpisl"):
        package = importlib.util.find_spec("lpips")
        if package is None or not package.submodule_search_locations:
            raise UsageError("lpisl needs the package lpips: pip install lpips torchvision")
        source = Path(package.submodule_search_locations[0])
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, slot / "packages" / "lpips", ignore=ignored)


def _photographs(config: TrainConfig, root: Path, tests: Scenes) -> list[Path]:
    """The held-out ones first, then the others in an order of no meaning; no test scenes."""
    files = [path for folder in config.photographs for path in image_files(root / folder)]
    held_out = [path for path in files if validates(path.name)]
    others = [path for path in _shuffled(files) if not validates(path.name)]
    unseen = (path for path in held_out if read_image(path) not in tests)
    return [*islice(unseen, MOST_IMAGES), *(p for p in others if read_image(p) not in tests)]


def _fill(
    slot: Path, root: Path, groups: Iterable[list[Path]], room: float, grey: bool = False
) -> int:
    """Copies groups of files to the same place in the slot while they fit; returns how many."""
    count = 0
    for group in groups:
        contents = [_grey(path) if grey else path.read_bytes() for path in group]
        room -= sum(len(content) for content in contents)
        if room < 0:
            break
        for path, content in zip(group, contents, strict=True):
            target = slot / "data" / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        count += 1
    return count


def _grey(path: Path) -> bytes:
    """The first channel alone: a mask's three are equal."""
    file = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").getchannel(0).save(file, "PNG", optimize=True)
    return file.getvalue()


def _shuffled(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=_order)


def _order(path: Path) -> bytes:
    return hashlib.sha256(path.name.encode()).digest()


def _check_begin(config: TrainConfig, options: argparse.Namespace) -> None:
    """Says here what would end the run there.

    Raises:
        InputError, UsageError, WeightsError: `--run` or `--start` cannot be gone on from.
    """
    if options.run is not None and options.start is not None:
        raise UsageError("--start begins a run and --run goes on with one: give one of them")
    if options.run is not None:
        parts = load_checkpoint(options.run / "last.pt")
        if options.budget_minutes is not None:
            config = config.scaled(parts["config"]["steps"])
        if changes := check_resumable(parts, config, options.run / "last.pt"):
            print(f"the recipe has changed since {options.run}: {changes}", file=sys.stderr)
    if options.start is not None:
        load_weights(options.start, SAPNetVideo() if isinstance(config, VideoConfig) else SAPNet())


def _packed_start(source: str, slot: Path) -> str:
    """Copies a run's checkpoint, or weights as `find_weights` finds them; its name in the slot."""
    path = Path(source) if source.endswith(".pt") else find_weights(source)
    shutil.copy(path, slot / f"start{path.suffix}")
    return f"start{path.suffix}"


def _make(config: TrainConfig, root: Path, options: argparse.Namespace) -> str:
    """`pack`, and the script beside; an earlier slot stays until the new one is whole.

    Raises:
        OutputError: a file cannot be written.
    """
    slot = options.slot
    if slot.exists() and not (slot / "recipe.yaml").exists():
        raise UsageError(f"{slot} exists and holds no slot: remove it, or name another folder")
    new = slot.with_name(slot.name + ".partial")
    shutil.rmtree(new, ignore_errors=True)
    try:
        text = pack(new, config, root, root / "weights", options.run)
        arguments = f"--max-minutes {options.minutes}"
        if options.budget_minutes is not None:
            arguments += f" --budget-minutes {options.budget_minutes}"
        if options.run is not None:
            arguments += " --resume"
        elif options.start is not None:
            arguments += f' --start "$slot/{_packed_start(options.start, new)}"'
        (new / "train.sh").write_text(SCRIPT.format(options=arguments))
        shutil.rmtree(slot, ignore_errors=True)
        new.rename(slot)
    except OSError as error:
        raise OutputError(f"{slot} cannot be packed: {error}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return text


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sapnet_training.gpu_slot")
    parser.add_argument("config", type=Path, metavar="YAML")
    parser.add_argument("slot", type=Path, metavar="SLOT", help="folder to fill")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="what the last slot gave back")
    parser.add_argument("--start", metavar="WEIGHTS", help="begin with them, see sapnet-train")
    parser.add_argument("--minutes", type=float, default=9.0, help="of the slot; default 9")
    parser.add_argument("--budget-minutes", type=float, help="of all slots together")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    for name in ("minutes", "budget_minutes"):
        minutes = getattr(options, name)
        if minutes is not None and not minutes > 0:
            raise UsageError(f"--{name.replace('_', '-')} must be above 0, got {minutes}")
    root = data_folder()
    config = load_config(options.config, options.overrides)
    if isinstance(config, ImageConfig):  # the networks that travel, see WEIGHTS
        config = replace(config, ubs_backbone="vgg16", lpips_trunk="squeeze")
    _check_begin(config, options)
    print(f"{options.slot}: {_make(config, root, options)}")
    print(f"on the GPU machine, in this repository: OUT=FOLDER bash {options.slot}/train.sh")


if __name__ == "__main__":
    sys.exit(main())
