"""Makes bundled weights of a checkpoint: `python -m sapnet_training.export CHECKPOINT OUT`."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapnet_stream.errors import OutputError, UsageError
from sapnet_stream.networks.sapnet import SAPNet, SAPNetConfig
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import find_weights, read_card, save_network
from sapnet_training.checkpoint import load_checkpoint
from sapnet_training.command import command

FIRST_DATA = (
    "383 photographs of BSDS500, none of them a scene of Rain100, rained on by "
    "sapnet_training.rain with 207 rendered streak masks (Garg and Nayar 2006); "
    "18 pairs of RainTrainH"
)
"""Of checkpoints from before the recipe named its folders."""


def data_of(recipe: Mapping[str, Any]) -> str:
    """What a run was trained on, in words."""
    if "photographs" not in recipe:
        return FIRST_DATA
    photographs = ", ".join(recipe["photographs"])
    masks = f" with masks of {recipe['masks']}" if recipe["masks"] else ""
    if recipe.get("task") == "video":
        return f"{photographs}, filmed and rained on by sapnet_training.video_scenes{masks}"
    pairs = f"; pairs of {', '.join(recipe['pair_sets'])}" if recipe.get("pairs") else ""
    return f"{photographs}, rained on by sapnet_training.rain{masks}{pairs}"


def export(checkpoint: Path, out: Path, start: str | None = None) -> str:
    """Writes the averaged weights with their story as metadata; returns their sha256.

    Args:
        start: the weights that the run began with, a bundled name, a file or a run's .pt;
            their own story is kept in this one.

    Raises:
        InputError: see `load_checkpoint`.
        OutputError: `out` cannot be written.
        UsageError: `out` does not end in .safetensors.
        WeightsError: see `find_weights` and `read_card`.
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"{out} must end in .safetensors, by which weights are told apart")
    parts = load_checkpoint(checkpoint)
    network: SAPNet | SAPNetVideo
    if parts["config"].get("task") == "video":
        network = SAPNetVideo()
    else:
        dilations = parts["config"].get("dilations", SAPNetConfig().dilations)  # old ones lack it
        network = SAPNet(SAPNetConfig(dilations=tuple(dilations)))
    network.load_state_dict(parts["average"])
    card = _card(parts)
    if start is not None and start.endswith(".pt"):
        card["start"] = json.dumps(_card(load_checkpoint(Path(start))))
    elif start is not None:
        card["start"] = json.dumps(read_card(find_weights(start)))
    try:
        return save_network(out, network, card)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error


def _card(parts: Mapping[str, Any]) -> dict[str, str]:
    return {
        "data": data_of(parts["config"]),
        "recipe": json.dumps(parts["config"]),
        "steps": str(parts["step"]),
        "hours": f"{parts['seconds'] / 3600:.2f}",
        "license": "MIT for the weights; the photographs and masks carry no licence of their own",
    }


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sapnet_training.export")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT.pt")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--start", metavar="WEIGHTS", help="those that the run began with")
    options = parser.parse_args()
    print(export(options.checkpoint, options.out, options.start))


if __name__ == "__main__":
    sys.exit(main())
