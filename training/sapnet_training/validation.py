"""The score that picks a checkpoint: held-out photographs under fixed rain."""

import torch

from sapnet_stream.networks.sapnet import SAPNet
from sapnet_training.data import TrainingImages
from sapnet_training.metrics import luma, psnr
from sapnet_training.rain import SyntheticRain

KINDS = ("dry", "light", "drizzle", "medium", "heavy")
CROP_PX = 128
MOST_IMAGES = 10


class Validation:
    """Centre crops of the held-out photographs, rained on once, with a fixed seed per kind."""

    def __init__(self, images: TrainingImages) -> None:
        crops = torch.stack([_centre(image) for image in images.held_out[:MOST_IMAGES]])
        self._sets = {}
        for seed, kind in enumerate(KINDS):
            rain = SyntheticRain({kind: 1.0}, images.masks)
            self._sets[kind] = rain(crops.float() / 255, torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def scores(self, network: SAPNet, stages: int) -> dict[str, float]:
        """Mean PSNR on Y in dB per kind of rain, and the mean over the kinds.

        Dry counts up to 42 dB only: a network that does nothing must not win.
        """
        result = {}
        for kind, (rainy, target) in self._sets.items():
            output = torch.cat([network(image[None], stages) for image in rainy])
            each = [
                min(psnr(luma(_bytes(a)), luma(_bytes(b))), 60.0)
                for a, b in zip(output, target, strict=True)
            ]
            result[kind] = round(sum(each) / len(each), 3)
        counted = {**result, "dry": min(result["dry"], 42.0)}
        return {**result, "mean": round(sum(counted.values()) / len(counted), 3)}


def _bytes(image: torch.Tensor) -> torch.Tensor:
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def _centre(image: torch.Tensor) -> torch.Tensor:
    top, left = (image.shape[1] - CROP_PX) // 2, (image.shape[2] - CROP_PX) // 2
    return image[:, top : top + CROP_PX, left : left + CROP_PX]
