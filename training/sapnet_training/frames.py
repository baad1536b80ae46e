"""Frames of a video as images, as they are or in synthetic rain beside dry:
`python -m sapnet_training.frames VIDEO FOLDER`, for `sapnet-eval --data FOLDER`.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path

import torch
from torch import Tensor

from sapnet_stream.errors import OutputError, UsageError
from sapnet_training.before_after import rgb_frames
from sapnet_training.command import command
from sapnet_training.levels import to_bytes
from sapnet_training.picture_file import as_picture, save_picture
from sapnet_training.rain import SyntheticRain
from sapnet_training.rain_presets import PRESETS
from sapnet_training.seeds import seeded
from sapnet_training.training_images import read_masks

CLIP = 25
"""Frames that rain falls through; then it draws its strength and direction anew."""

WET = sorted(set(PRESETS) - {"dry"})
MASKED = [name for name in WET if PRESETS[name].masks[1] >= 1]
"""Those drawn from masks, in whole or in part."""


def rained_on(
    frames: Iterable[Tensor], rain: SyntheticRain, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every frame with rain, and what a derainer should make of it; [3, H, W] uint8 each.

    Args:
        frames: [3, H, W] uint8; rain begins anew where their size changes.
        seed: of the rain, which the clip's number goes into too.
    """
    for number, clip in enumerate(_clips(frames)):
        clean = torch.stack(clip)[None].float() / 255
        rainy, target = rain.fall(clean, seeded("rainy frames", seed, number))
        yield from zip(to_bytes(rainy[0]), to_bytes(target[0]), strict=True)


def _clips(frames: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """As long as can be, each of one size."""
    for _, alike in groupby(frames, lambda frame: frame.shape):
        while clip := list(islice(alike, CLIP)):
            yield clip


def chosen_rain(preset: str | None, masks: Path | None) -> SyntheticRain | None:
    """What `--rain` and `--masks` ask for.

    Raises:
        InputError: a mask cannot be read.
        UsageError: one of the two without the other.
    """
    if masks is not None and preset not in MASKED:
        raise UsageError(f"--masks is for --rain {', '.join(MASKED)}: leave it out")
    if preset is None:
        return None
    if preset in MASKED and masks is None:
        raise UsageError(
            f"--rain {preset} is drawn from rendered streaks: name a folder of them with --masks, "
            f"or take {', '.join(name for name in WET if name not in MASKED)}"
        )
    return SyntheticRain({preset: 1.0}, None if masks is None else read_masks(masks))


def write_frames(
    video: Path, folder: Path, every: int, rain: SyntheticRain | None, seed: int
) -> int:
    """A PNG in `clean/` for every Nth frame, named by its number; with rain in `rainy/` too.

    Returns:
        How many.

    Raises:
        InputError: the video cannot be read.
        OutputError: a file cannot be written, or the folder has frames.
        UsageError: `every` is below 1.
    """
    if every < 1:
        raise UsageError(f"--every must be at least 1, got {every}")
    for made in (folder / "clean", folder / "rainy"):
        if made.exists():
            raise OutputError(f"{made} exists and may hold other frames: name another folder")
    kept = islice(rgb_frames(video), 0, None, every)
    count = 0
    if rain is None:
        for frame in kept:
            save_picture(as_picture(frame), folder / "clean" / f"{count * every:05}.png")
            count += 1
        return count
    for rainy, clean in rained_on(kept, rain, seed):
        name = f"{count * every:05}.png"
        save_picture(as_picture(rainy), folder / "rainy" / name)
        save_picture(as_picture(clean), folder / "clean" / name)
        count += 1
    return count


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sapnet_training.frames")
    parser.add_argument("video", type=Path, metavar="VIDEO")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth frame")
    parser.add_argument("--rain", choices=WET, help="default: none")
    parser.add_argument(
        "--masks", type=Path, metavar="FOLDER", help=f"rendered streaks, for {', '.join(MASKED)}"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rain = chosen_rain(options.rain, options.masks)
    count = write_frames(options.video, options.folder, options.every, rain, options.seed)
    print(f"{count} frames in {options.folder}")


if __name__ == "__main__":
    sys.exit(main())
