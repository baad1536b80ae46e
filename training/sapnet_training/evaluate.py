"""Scores a network on pairs of images: `python -m sapnet_training.evaluate --data PAIR`."""

import argparse
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sapnet_stream.errors import InputError, SapnetError
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.weights import load_network
from sapnet_training.data import image_files, read_image
from sapnet_training.metrics import luma, psnr, ssim_255


@dataclass(frozen=True)
class Score:
    """PSNR in dB and SSIM on Y, PSNR on RGB, of one image against its clean twin."""

    psnr_y: float
    ssim_y: float
    psnr_rgb: float


def score(image: Tensor, clean: Tensor) -> Score:
    """Of two [3, H, W] uint8 images."""
    y, clean_y = luma(image), luma(clean)
    return Score(psnr(y, clean_y), ssim_255(y, clean_y), psnr(image, clean))


def mean(scores: list[Score]) -> Score:
    """The average the literature prints: of the decibels, not of the errors."""
    count = len(scores)
    return Score(
        sum(s.psnr_y for s in scores) / count,
        sum(s.ssim_y for s in scores) / count,
        sum(s.psnr_rgb for s in scores) / count,
    )


@torch.no_grad()
def derain(
    network: SAPNet, image: Tensor, truncate: bool = False, stages: int | None = None
) -> Tensor:
    """[3, H, W] uint8 in and out; rounded, or truncated as the published tests do."""
    output: Tensor = network(image[None].float() / 255, stages)[0].clamp(0, 1) * 255
    output = output if truncate else output.round()
    return output.to(torch.uint8)


def paired_files(rainy: Path, clean: Path) -> list[tuple[Path, Path]]:
    """Rainy and clean files of one name, in natural order.

    Raises:
        InputError: an empty folder, or a rainy image without a clean one.
    """
    known = {path.stem: path for path in image_files(clean)}
    pairs = []
    for path in image_files(rainy):
        if path.stem not in known:
            raise InputError(f"{clean} has no image named {path.stem}, the twin of {path}")
        pairs.append((path, known[path.stem]))
    return pairs


def evaluate(
    network: SAPNet,
    pairs: Iterable[tuple[Path, Path]],
    truncate: bool = False,
    stages: int | None = None,
) -> tuple[Score, Score]:
    """Mean scores of the rainy images and of the derained ones."""
    before, after = [], []
    for rainy_path, clean_path in pairs:
        rainy, clean = read_image(rainy_path), read_image(clean_path)
        if rainy.shape != clean.shape:
            raise InputError(f"{rainy_path} and {clean_path} differ in size")
        before.append(score(rainy, clean))
        after.append(score(derain(network, rainy, truncate, stages), clean))
    return mean(before), mean(after)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sapnet_training.evaluate", description="PSNR and SSIM on pairs of images."
    )
    parser.add_argument("--weights", metavar="NAME_OR_PATH", help="default: the bundled ones")
    parser.add_argument(
        "--data", required=True, metavar="RAINY:CLEAN", help="two folders with files of one name"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth pair")
    parser.add_argument("--truncate", action="store_true", help="to uint8, instead of rounding")
    parser.add_argument("--stages", type=int, metavar="1-6", help="default: all")
    options = parser.parse_args()
    try:
        rainy, colon, clean = options.data.partition(":")
        if not colon or options.every < 1:
            raise InputError("--data is RAINY:CLEAN, two folders, and --every at least 1")
        pairs = paired_files(Path(rainy), Path(clean))[:: options.every]
        network = load_network(options.weights)
        began = time.monotonic()
        before, after = evaluate(network, pairs, options.truncate, options.stages)
        seconds = time.monotonic() - began
    except SapnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{len(pairs)} pairs, {seconds / len(pairs):.2f} s each")
    print(f"{'':10}{'PSNR Y dB':>10}{'SSIM Y':>8}{'PSNR RGB dB':>13}")
    for name, s in (("rainy", before), ("derained", after)):
        print(f"{name:10}{s.psnr_y:10.2f}{s.ssim_y:8.4f}{s.psnr_rgb:13.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
