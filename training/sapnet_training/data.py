"""Training images, held as uint8 in memory, and the batches cut from them.

Shapes: N batch, H height, W width; images are [3, H, W].
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sapnet_stream.errors import InputError

VALIDATION_SHARE = 16
"""One scene in this many validates."""


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


def image_files(folder: Path) -> list[Path]:
    """The PNG and JPEG files of a folder in natural order (norain-2 before norain-10).

    Raises:
        InputError: no such folder, or no image in it.
    """
    files = [p for p in folder.glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg")]
    if not files:
        raise InputError(f"{folder} has no PNG or JPEG images")
    return sorted(files, key=lambda p: (len(p.name), p.name))


def validates(name: str) -> bool:
    """Whether a scene is held out from training: by its file name, so for good."""
    return hashlib.sha256(name.encode()).digest()[0] % VALIDATION_SHARE == 0


def read_masks(folder: Path) -> Tensor:
    """Rendered streak masks cut to their smallest size, [M, H, W] uint8 grey."""
    masks = [read_image(path)[0] for path in image_files(folder)]
    height, width = (min(m.shape[side] for m in masks) for side in (0, 1))
    return torch.stack([m[:height, :width] for m in masks])


@dataclass(frozen=True)
class TrainingImages:
    """What the recipe trains on, and the photographs it is validated on."""

    photographs: list[Tensor]
    pairs: list[tuple[Tensor, Tensor]]
    held_out: list[Tensor]
    masks: Tensor


def read_training_images(train: Path) -> TrainingImages:
    """Reads `bsds_clean_409`, `garg_streaks_207` and `raintrainh_18pairs` of a folder."""
    files = image_files(train / "bsds_clean_409")
    rainy = train / "raintrainh_18pairs" / "rain"
    return TrainingImages(
        photographs=[read_image(p) for p in files if not validates(p.name)],
        pairs=[
            (read_image(p), read_image(rainy.parent / "norain" / p.name))
            for p in image_files(rainy)
        ],
        held_out=[read_image(p) for p in files if validates(p.name)],
        masks=read_masks(train / "garg_streaks_207"),
    )


class Patches:
    """Random patches, the same for the same generator state."""

    def __init__(self, images: TrainingImages) -> None:
        self._images = images

    def photographs(self, n: int, patch: int, generator: torch.Generator) -> Tensor:
        """[N, 3, patch, patch] in [0, 1], half of them mirrored left to right."""
        cuts = []
        for _ in range(n):
            image = self._images.photographs[_below(len(self._images.photographs), generator)]
            cut = _cut(image, patch, generator)
            cuts.append(cut.flip(2) if _below(2, generator) else cut)
        return torch.stack(cuts).float() / 255

    def pairs(self, n: int, patch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rainy and clean, [N, 3, patch, patch] each: rain keeps falling down the image."""
        rainy, clean = [], []
        for _ in range(n):
            pair = self._images.pairs[_below(len(self._images.pairs), generator)]
            both = _cut(torch.cat(pair), patch, generator)
            both = both.flip(2) if _below(2, generator) else both
            rainy.append(both[:3])
            clean.append(both[3:])
        return torch.stack(rainy).float() / 255, torch.stack(clean).float() / 255


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))


def _cut(image: Tensor, patch: int, generator: torch.Generator) -> Tensor:
    top = _below(image.shape[1] - patch + 1, generator)
    left = _below(image.shape[2] - patch + 1, generator)
    return image[:, top : top + patch, left : left + patch]
