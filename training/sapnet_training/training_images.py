"""What a recipe trains on, and the patches cut from it.

Shapes: N batch, H height, W width; images are [3, H, W], pairs [6, H, W], rainy over clean.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from sapnet_stream.errors import InputError
from sapnet_training.config import TrainConfig
from sapnet_training.data import image_files, read_image
from sapnet_training.image_config import ImageConfig
from sapnet_training.pairs import Pair, find_pairs, read_pair
from sapnet_training.scenes import Scenes
from sapnet_training.store import Store

VALIDATION_SHARE = 16
"""One scene in this many validates."""

GIB = 2**30


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

    photographs: Sequence[Tensor]
    pairs: Sequence[Tensor]
    held_out: Sequence[Tensor]
    masks: Tensor | None

    def summary(self) -> str:
        """One line for a person: how many, and what was left out."""
        stores = [s for s in (self.photographs, self.pairs) if isinstance(s, Store)]
        size, held, unwanted = (
            sum(getattr(store, name) for store in stores)
            for name in ("held_bytes", "held", "unwanted")
        )
        return (
            f"{len(self.photographs)} photographs and {len(self.pairs)} pairs to train on, "
            f"{held} of them in memory ({size / GIB:.2f} GiB); {unwanted} left out for showing "
            f"a scene of a test or of validation; {len(self.held_out)} photographs held out"
        )


def read_training_images(config: ImageConfig, root: Path, side: int) -> TrainingImages:
    """Reads what the recipe names.

    Args:
        config: its folders are relative to `root`.
        root: folder of the data.
        side: of the largest patch, pixels.

    Raises:
        InputError: a folder is missing, a file unreadable, unpaired or smaller than a patch, or
            nothing is left to train or to validate on.
    """

    def pair(files: Pair) -> Tensor:
        return at_least(side, read_pair(files), files.clean)

    tests = scenes_left_out(config, root)
    sets = config.pair_sets if config.pairs else ()
    found = list(chain.from_iterable(find_pairs(source, root) for source in sets))
    scenes, held_out = read_photographs(config, root, side, tests)
    validated = Scenes(list(held_out))  # in a set of pairs, scenes have other names

    def known(both: Tensor) -> bool:
        return both[-3:] in tests or both[-3:] in validated

    left = config.memory_gib * GIB - scenes.held_bytes - held_out.held_bytes
    pairs = Store(found, pair, left, known)
    if found and not pairs:
        raise InputError(
            f"all pairs of {', '.join(sets)} show scenes of tests or held-out photographs: add "
            "others, or set pairs to 0"
        )
    masks = read_masks(root / config.masks) if config.masks else None
    return TrainingImages(scenes, pairs, held_out, masks)


def scenes_left_out(config: TrainConfig, root: Path) -> Scenes:
    """Those of `leave_out`."""
    return Scenes([read_image(p) for f in config.leave_out for p in image_files(root / f)])


def read_photographs(
    config: TrainConfig, root: Path, side: int, tests: Scenes
) -> tuple[Store, Store]:
    """To train on, and held out to validate on; neither shows a scene of `tests`.

    Args:
        config, root: see `read_training_images`.
        side: that each must have, pixels.
        tests: of `scenes_left_out`.

    Raises:
        InputError: see `read_training_images`.
    """

    def photograph(path: Path) -> Tensor:
        return at_least(side, read_image(path), path)

    seen = tests.__contains__ if config.leave_out else None
    files = list(chain.from_iterable(image_files(root / f) for f in config.photographs))
    budget = config.memory_gib * GIB
    held_out = Store([p for p in files if validates(p.name)], photograph, budget, seen)
    budget -= held_out.held_bytes
    trained = Store([p for p in files if not validates(p.name)], photograph, budget, seen)
    for images, purpose in ((trained, "to train on"), (held_out, "held out to validate on")):
        if not images:
            raise InputError(
                f"of the photographs in {', '.join(config.photographs)} none is left {purpose}: "
                f"add some; one in {VALIDATION_SHARE} is held out, by its name, and test scenes "
                "are left out"
            )
    return trained, held_out


class Patches:
    """Random patches, the same for the same generator state.

    Cut from uint8 images on the CPU; mirrored, and made floats, on the device.
    """

    def __init__(self, images: TrainingImages, device: torch.device | str = "cpu") -> None:
        self._images = images
        self._device = device

    def photographs(self, n: int, patch: int, generator: torch.Generator) -> Tensor:
        """[N, 3, patch, patch] in [0, 1], half of them mirrored left to right."""
        return self._cuts(self._images.photographs, n, patch, generator)

    def pairs(self, n: int, patch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rainy and clean, [N, 3, patch, patch] each: rain keeps falling down the image."""
        both = self._cuts(self._images.pairs, n, patch, generator)
        return both[:, :3], both[:, 3:]

    def _cuts(
        self, images: Sequence[Tensor], n: int, patch: int, generator: torch.Generator
    ) -> Tensor:
        cuts = []
        for _ in range(n):
            image = images[_below(len(images), generator)]
            top = _below(image.shape[1] - patch + 1, generator)
            left = _below(image.shape[2] - patch + 1, generator)
            cuts.append(image[:, top : top + patch, left : left + patch])
        mirrored = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
        batch = torch.stack(cuts).to(self._device)
        batch = torch.where(mirrored.to(self._device), batch.flip(3), batch)
        return batch.float() / 255


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))


def at_least(side: int, image: Tensor, path: Path) -> Tensor:
    """The image; raises InputError where a patch cannot be cut from it."""
    if min(image.shape[1:]) < side:
        height, width = image.shape[1:]
        raise InputError(
            f"{path} is {width}x{height}, smaller than the patches of {side} pixels that are cut "
            "from it: take it away, or lower the recipe's patch where that is larger"
        )
    return image
