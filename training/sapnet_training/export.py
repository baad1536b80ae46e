"""Makes bundled weights of a checkpoint: `python -m sapnet_training.export CHECKPOINT OUT`."""

import argparse
import json
import sys
from pathlib import Path

from sapnet_stream.errors import SapnetError
from sapnet_stream.networks.sapnet import SAPNet, SAPNetConfig
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import save_network
from sapnet_training.checkpoint import load_checkpoint

DATA = (
    "383 photographs of BSDS500, none of them a scene of Rain100, rained on by "
    "sapnet_training.rain with 207 rendered streak masks (Garg and Nayar 2006); "
    "18 pairs of RainTrainH"
)
VIDEO_DATA = (
    "383 photographs of BSDS500, none of them a scene of Rain100, filmed by the moving camera of "
    "sapnet_training.video_scenes in the rain of sapnet_training.video_rain, with 207 rendered "
    "streak masks (Garg and Nayar 2006)"
)


def export(checkpoint: Path, out: Path) -> str:
    """Writes the averaged weights with their story as metadata; returns their sha256."""
    parts = load_checkpoint(checkpoint)
    network: SAPNet | SAPNetVideo
    if parts["config"].get("task") == "video":
        network, data = SAPNetVideo(), VIDEO_DATA
    else:
        dilations = parts["config"].get("dilations", SAPNetConfig().dilations)  # old ones lack it
        network, data = SAPNet(SAPNetConfig(dilations=tuple(dilations))), DATA
    network.load_state_dict(parts["average"])
    card = {
        "data": data,
        "recipe": json.dumps(parts["config"]),
        "steps": str(parts["step"]),
        "hours": f"{parts['seconds'] / 3600:.2f}",
        "license": "MIT for the weights; the photographs and masks carry no licence of their own",
    }
    return save_network(out, network, card)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sapnet_training.export")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT.pt")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    options = parser.parse_args()
    try:
        print(export(options.checkpoint, options.out))
    except SapnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
