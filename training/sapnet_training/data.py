"""Image files.

Shapes: H height, W width; images are [3, H, W].
"""

import re
import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sapnet_stream.errors import InputError

# What Pillow's readers raise on damaged files.
_BROKEN = (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)
_DEEP = ("I", "F")
"""How Pillow's names of modes with more than 8 bits begin; it would cut them off at 255."""


def read_image(path: Path) -> Tensor:
    """[3, H, W] uint8 RGB; grey is repeated, transparency left out.

    Raises:
        InputError: missing or unreadable, or grey of more than 8 bits.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith(_DEEP):
                raise InputError(f"{path} has grey of more than 8 bits: convert it to 8")
            pixels = np.array(image.convert("RGB"))
    except _BROKEN as error:
        raise InputError(f"cannot read the image {path}: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, pixels, without decoding it.

    Raises:
        InputError: missing, or no image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except _BROKEN as error:
        raise InputError(f"cannot read the image {path}: {error}") from error


def image_files(folder: Path) -> list[Path]:
    """The PNG and JPEG files of a folder in natural order (norain-2 before norain-10).

    Raises:
        InputError: no such folder, or one that may not be read, or no image in it.
    """
    try:
        files = [p for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg")]
    except OSError as error:
        raise InputError(
            f"{folder} is no folder of images ({error.strerror}): name one; a video becomes one by "
            "python -m sapnet_training.frames"
        ) from error
    if not files:
        raise InputError(f"{folder} has no PNG or JPEG images")
    return sorted(files, key=lambda p: (len(p.name), p.name))


def read_frames(files: Sequence[Path]) -> list[Tensor]:
    """The frames of one video, [3, H, W] uint8 RGB each.

    Raises:
        InputError: see `read_image`, or they differ in size.
    """
    frames = [read_image(path) for path in files]
    if any(frame.shape != frames[0].shape for frame in frames):
        raise InputError(f"the frames in {files[0].parent} differ in size: give those of one video")
    return frames


def check_consecutive(files: Sequence[Path]) -> None:
    """Make sure that no frame is missing, by the last number in each name.

    Every second or fifth frame will do, and names without numbers are believed.

    Raises:
        InputError: numbers are left out, or begin again.
    """
    numbers = [int(found[-1]) for path in files if (found := re.findall(r"\d+", path.stem))]
    steps = [after - before for before, after in pairwise(numbers)]
    usual = min((step for step in steps if step > 0), default=0)
    if not usual or len(numbers) < len(files):
        return
    for (before, after), step in zip(pairwise(files), steps, strict=True):
        if not 0 < step < 2 * usual:
            raise InputError(
                f"{after} does not follow {before.name}, and what passes between frames is "
                "measured: give consecutive frames of one video"
            )
