"""Segmentation as a task on derained images: does the clean image's map come back?

Shapes: C classes, H height, W width; h, w what the network labels.
"""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_stream.errors import WeightsError
from sapnet_training.espnet import CLASSES, ESPNet
from sapnet_training.torchvision_model import torchvision_model


class Segmenter(Protocol):
    """[h, w] labels of a [3, H, W] uint8 image."""

    classes: int

    def __call__(self, image: Tensor) -> Tensor: ...


class StreetSegmenter:
    """ESPNet, trained on Cityscapes, at its 1024 pixels on the longer side.

    Raises:
        WeightsError: the file is no checkpoint of ESPNet.
    """

    LONGER_PX = 1024
    MEAN = (72.3923111, 82.90893555, 73.15840149)
    DEVIATION = (45.3192215, 46.15289307, 44.91483307)
    """Of BGR levels in its training images, as its authors publish them."""

    classes = CLASSES

    def __init__(self, path: Path) -> None:
        self._network = ESPNet().eval()
        try:
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise WeightsError(f"there is no file {path}: give ESPNet as .pth") from None
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise WeightsError(
                f"{path} is not a checkpoint of ESPNet: it has no tensors"
            ) from error
        try:
            self._network.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise WeightsError(
                f"{path} is not a checkpoint of ESPNet: {_differing(self._network, state)}"
            ) from error
        self._mean, self._deviation = (
            torch.tensor(values).view(3, 1, 1) for values in (self.MEAN, self.DEVIATION)
        )

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        scale = self.LONGER_PX / max(image.shape[1:])
        size = [max(8, round(side * scale / 8) * 8) for side in image.shape[1:]]
        # Its training divided the normalised levels by 255 once more.
        bgr = ((image.flip(0).float() - self._mean) / self._deviation / 255)[None]
        bgr = F.interpolate(bgr, size, mode="bilinear", antialias=True)
        labels: Tensor = self._network(bgr)[0].argmax(0)
        return labels


def _differing(network: nn.Module, state: Any) -> str:
    own, given = (
        {str(name): getattr(value, "shape", None) for name, value in tensors.items()}
        for tensors in (network.state_dict(), state if isinstance(state, dict) else {})
    )
    names = [name for name in {**own, **given} if own.get(name) != given.get(name)]
    return f"{len(names)} tensors differ in name or shape, {', '.join(names[:3])} among them"


class TorchvisionSegmenter:
    """A segmentation network of torchvision by name; see `torchvision_model`."""

    def __init__(self, name: str) -> None:
        self._model, weights = torchvision_model(name, "segmentation")
        self._prepared = weights.transforms()
        self.classes = len(weights.meta["categories"])

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        labels: Tensor = self._model(self._prepared(image)[None])["out"][0].argmax(0)
        return labels


class Segmentation:
    """Agreement with the labels of the clean image, as mIoU."""

    name = "segmentation"
    measure = "mIoU"

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        generator = torch.Generator().manual_seed(1)
        self._colours = torch.randint(0, 256, (segmenter.classes, 3), generator=generator)

    def predict(self, image: Tensor) -> Tensor:
        return self._segmenter(image)

    def compare(self, labels: Tensor, clean: Tensor) -> Tensor:
        """[C, C], how many pixels of each clean class got each label."""
        classes = self._segmenter.classes
        pairs = (clean * classes + labels).flatten()
        return torch.bincount(pairs, minlength=classes**2).view(classes, classes)

    def score(self, counts: Sequence[Tensor]) -> float:
        """Mean intersection over union of the classes in the clean images, pixels summed."""
        count = torch.stack(list(counts)).sum(0).double()
        truth, both = count.sum(1), count.diagonal()
        union = truth + count.sum(0) - both
        return float((both / union)[truth > 0].mean())

    def draw(self, image: Tensor, labels: Tensor) -> Tensor:
        """The labels' colours over the image."""
        colours = self._colours[labels].permute(2, 0, 1).float()
        colours = F.interpolate(colours[None], image.shape[1:], mode="nearest")[0]
        return (0.5 * image + 0.5 * colours).byte()
