"""A sheet: images of one size side by side, each with its caption above it."""

from pathlib import Path

import torch
from PIL import ImageDraw
from torch import Tensor

from sapnet_training.picture_file import as_picture, save_picture

CAPTION_PX = 16
GAP_PX = 4


def write_sheet(path: Path, images: dict[str, Tensor]) -> None:
    """A PNG of the images from left to right.

    Args:
        path: its folder is made; an existing file is replaced.
        images: caption to [3, H, W] uint8 RGB, all of one size.

    Raises:
        OutputError: the file cannot be written.
    """
    height, width = next(iter(images.values())).shape[1:]
    step = width + GAP_PX
    sheet = torch.full((3, CAPTION_PX + height, len(images) * step - GAP_PX), 255).byte()
    for column, image in enumerate(images.values()):
        sheet[:, CAPTION_PX:, column * step : column * step + width] = image
    picture = as_picture(sheet)
    draw = ImageDraw.Draw(picture)
    for column, caption in enumerate(images):
        draw.text((column * step, 2), caption, fill=(0, 0, 0))
    save_picture(picture, path)
