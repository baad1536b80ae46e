"""Image files.

Shapes: H height, W width; images are [3, H, W].
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sapnet_stream.errors import InputError


def read_image(path: Path) -> Tensor:
    """[3, H, W] uint8 RGB.

    Raises:
        InputError: missing or unreadable.
    """
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGB"))
    except OSError as error:
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
    except OSError as error:
        raise InputError(f"cannot read the image {path}: {error}") from error


def image_files(folder: Path) -> list[Path]:
    """The PNG and JPEG files of a folder in natural order (norain-2 before norain-10).

    Raises:
        InputError: no such folder, or no image in it.
    """
    files = [p for p in folder.glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg")]
    if not files:
        raise InputError(f"{folder} has no PNG or JPEG images")
    return sorted(files, key=lambda p: (len(p.name), p.name))
