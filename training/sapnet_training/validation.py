"""The score that picks a checkpoint: held-out photographs under fixed rain."""

import torch
from torch import Tensor

from sapnet_stream.networks.sapnet import SAPNet
from sapnet_training.levels import to_bytes
from sapnet_training.metrics import luma, psnr
from sapnet_training.rain import SyntheticRain
from sapnet_training.rain_presets import PRESETS
from sapnet_training.seeds import seeded
from sapnet_training.training_images import TrainingImages

KINDS = ("dry", "light", "drizzle", "medium", "heavy")
CROP_PX = 128
MOST_IMAGES = 10
PICTURED = "heavy"


class Validation:
    """Centre crops of the held-out photographs, rained on once, the seed hashed of the kind.

    Crops are as large as the smallest photograph, CROP_PX at most. Without masks, kinds of rain
    that are drawn from them are left out. The rain is drawn on the CPU, so it is the same whatever
    the network runs on.
    """

    def __init__(self, images: TrainingImages, device: torch.device | str = "cpu") -> None:
        shown = images.held_out[:MOST_IMAGES]
        side = min(CROP_PX, *(min(image.shape[1:]) for image in shown))
        crops = torch.stack([_centre(image, side) for image in shown])
        self._device = torch.device(device)
        self._sets = {}
        kinds = [k for k in KINDS if images.masks is not None or not PRESETS[k].needs_masks]
        for kind in kinds:
            rain = SyntheticRain({kind: 1.0}, images.masks)
            self._sets[kind] = rain(crops.float() / 255, seeded("validation", kind))

    def scores(self, network: SAPNet, stages: int) -> dict[str, float]:
        """Mean PSNR on Y in dB per kind of rain, and "score", the mean over the kinds.

        Dry counts up to 42 dB only: a network that does nothing must not win.
        """
        result = {}
        for kind, (rainy, target) in self._sets.items():
            each = [
                min(psnr(luma(self._derained(network, a, stages)), luma(to_bytes(b))), 60.0)
                for a, b in zip(rainy, target, strict=True)
            ]
            result[kind] = round(sum(each) / len(each), 3)
        counted = {**result, "dry": min(result["dry"], 42.0)}
        return {**result, "score": round(sum(counted.values()) / len(counted), 3)}

    def pictures(self, network: SAPNet, stages: int) -> dict[str, Tensor]:
        """The first crop under heavy rain, derained, and clean, [3, H, W] uint8 each."""
        rainy, target = (images[0] for images in self._sets[PICTURED])
        derained = self._derained(network, rainy, stages)
        return {"rainy": to_bytes(rainy), "derained": derained, "clean": to_bytes(target)}

    @torch.no_grad()
    def _derained(self, network: SAPNet, image: Tensor, stages: int) -> Tensor:
        return to_bytes(network(image[None].to(self._device), stages)[0].cpu())


def _centre(image: Tensor, side: int) -> Tensor:
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side]
