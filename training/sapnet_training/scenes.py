"""Which pictures show the same scene, by content: names differ from one set to another."""

import torch
import torch.nn.functional as F
from torch import Tensor

GRID_PX = 16
SAME_SHARE = 0.12
"""Two pictures of more equal bits than all but this share show one scene. Of unrelated
photographs about half the bits are equal; JPEG, 8-bit and small crops change a few per cent."""


def scene_hash(image: Tensor) -> Tensor:
    """Whether each of 16 x 16 areas is brighter than its right neighbour, [256] bool.

    Args:
        image: [3, H, W] uint8 RGB.
    """
    grey = image.float().mean(0)[None, None]
    areas = F.adaptive_avg_pool2d(grey, (GRID_PX, GRID_PX + 1))[0, 0]
    return (areas[:, 1:] > areas[:, :-1]).flatten()


class Scenes:
    """Scenes that must not be trained on.

    Args:
        images: [3, H, W] uint8 RGB each.
    """

    def __init__(self, images: list[Tensor]) -> None:
        upright = [scene_hash(image) for image in images]
        mirrored = [scene_hash(image.flip(2)) for image in images]
        self._hashes = torch.stack(upright + mirrored) if images else torch.zeros(0, 256).bool()

    def __contains__(self, image: Tensor) -> bool:
        """Whether [3, H, W] uint8 shows one of them, or its mirror image."""
        return self.nearest(image) < SAME_SHARE

    def nearest(self, image: Tensor) -> float:
        """Share of the bits in which the most similar scene differs, 1 without scenes."""
        if not len(self._hashes):
            return 1.0
        return float((self._hashes ^ scene_hash(image)).float().mean(1).min())
