"""What deraining did to a clip whose clean twin is known: PSNR, and a picture of one frame.

`python -m sapnet_training.before_after CLEAN RAINY DERAINED --picture OUT.png`
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sapnet_stream.errors import InputError
from sapnet_stream.video.colour import to_rgb
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.frame import Frame
from sapnet_training.command import command
from sapnet_training.metrics import luma, psnr
from sapnet_training.picture_file import as_picture, save_picture


def rgb_frames(path: Path) -> Iterator[Tensor]:
    """The frames of a video, [3, H, W] uint8 RGB each."""
    with VideoDecoder(path) as decoder:
        for item in decoder:
            if isinstance(item, Frame):
                yield to_rgb(item)[0].mul_(255).round_().to(torch.uint8)


def compare(clean: Path, rainy: Path, derained: Path) -> tuple[float, float, Tensor]:
    """Mean PSNR on Y before and after, dB, and rainy beside derained at three quarters of the clip.

    Raises:
        InputError: a file is unreadable, or they differ in length or size.
    """
    before, after, pairs = [], [], []
    try:
        for truth, wet, dry in zip(*map(rgb_frames, (clean, rainy, derained)), strict=True):
            before.append(psnr(luma(wet), luma(truth)))
            after.append(psnr(luma(dry), luma(truth)))
            pairs.append(torch.cat((wet, dry), dim=2))
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"{clean}, {rainy} and {derained} are not the same clip: {error}"
        ) from error
    return float(np.mean(before)), float(np.mean(after)), pairs[len(pairs) * 3 // 4]


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sapnet_training.before_after")
    parser.add_argument("clean", type=Path, metavar="CLEAN")
    parser.add_argument("rainy", type=Path, metavar="RAINY")
    parser.add_argument("derained", type=Path, metavar="DERAINED")
    parser.add_argument("--picture", type=Path, metavar="OUT.png")
    options = parser.parse_args()
    before, after, pair = compare(options.clean, options.rainy, options.derained)
    if options.picture is not None:
        save_picture(as_picture(pair), options.picture)
    print(f"PSNR on Y against the dry clip: {before:.2f} dB before, {after:.2f} dB after")
    if options.picture is not None:
        print(f"before and after: {options.picture}")


if __name__ == "__main__":
    sys.exit(main())
