"""Learned perceptual image similarity loss (LPISL): LPIPS of Zhang et al., CVPR 2018."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from sapnet_stream.errors import UsageError
from sapnet_training.backbone import imagenet_weights, load_frozen

TRUNKS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
"""What `lpips` calls a trunk, and torchvision's name of it."""

SMALLEST_PX = 32
"""The trunks have nothing left to compare in images smaller than about this."""


class PerceptualSimilarityLoss(nn.Module):
    """Mean LPIPS of a batch, 0 for equal images.

    Args:
        trunk: a key of `TRUNKS`.
        folder: see `imagenet_weights`. The linear layers on top ship with `lpips`.

    Raises:
        UsageError: `lpips`, or torchvision that it needs, is not installed.
        WeightsError: the trunk's weights cannot be had.
    """

    def __init__(self, trunk: str = "alex", folder: Path | None = None) -> None:
        super().__init__()
        try:
            import lpips
        except ModuleNotFoundError as error:
            raise UsageError(
                f"LPIPS needs the package {error.name}: pip install lpips torchvision"
            ) from None
        with warnings.catch_warnings():  # lpips still asks torchvision in its old words
            warnings.simplefilter("ignore", UserWarning)
            self.metric = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
        self.metric.requires_grad_(False)
        weights = imagenet_weights(TRUNKS[trunk], folder)
        # lpips cuts the trunk's "features.7" into slices, here "slice3.7".
        cut = {key.split(".", 1)[1]: key for key in self.metric.net.state_dict()}
        known = {cut[k]: v for k, v in _features(weights).items() if k in cut}
        load_frozen(self.metric.net, known, TRUNKS[trunk])

    def forward(self, output: Tensor, clean: Tensor) -> Tensor:
        """A scalar; the gradient reaches `output`.

        Args:
            output, clean: [N, 3, H, W] RGB in [0, 1], H and W at least 32.
        """
        each: Tensor = self.metric(output, clean, normalize=True)
        return each.mean()


def _features(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    start = "features."
    return {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}


@torch.no_grad()
def lpips_distance(metric: PerceptualSimilarityLoss, image: Tensor, clean: Tensor) -> float:
    """LPIPS of two [3, H, W] uint8 images."""
    return float(metric(image[None].float() / 255, clean[None].float() / 255))
