"""Detection as a task on derained images: do the boxes of the clean image come back?

Shapes: K boxes, [K, 4] as left, top, right, bottom in pixels; H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_stream.errors import UsageError, WeightsError
from sapnet_training.torchvision_model import torchvision_model

CONFIDENT = 0.5
"""Detections of the clean image count as true from this score on."""

FAINT = 0.05
"""Detections of the others are ranked down to this score, which draws their precision curve."""

SAME_PLACE = 0.5
"""Intersection over union of two boxes that show the same: the 50 of AP50."""


@dataclass(frozen=True)
class Detections:
    """Boxes [K, 4], scores [K] in [0, 1] and classes [K] of one image."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor

    def __getitem__(self, index: Tensor) -> "Detections":
        return Detections(self.boxes[index], self.scores[index], self.classes[index])


class Detector(Protocol):
    """Detections of a [3, H, W] uint8 image with scores of FAINT and more."""

    def __call__(self, image: Tensor) -> Detections: ...


class FastestDet:
    """The anchor-free COCO detector of that name, a file of ONNX.

    Its output is [1, 85, h, w]: objectness, the centre's offset from the cell and the size of
    the box before tanh and sigmoid, and 80 class probabilities.

    Raises:
        UsageError: onnxruntime is not installed.
        WeightsError: the file cannot be used.
    """

    OVERLAP = 0.35

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise UsageError(
                f"{path} needs the package onnxruntime: pip install onnxruntime"
            ) from None
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidProtobuf, NoSuchFile

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except NoSuchFile:
            raise WeightsError(f"there is no file {path}: give FastestDet as .onnx") from None
        except (Fail, InvalidProtobuf) as error:
            raise WeightsError(f"{path} is not a usable ONNX model: {error}") from error
        self._input = self._session.get_inputs()[0]

    def __call__(self, image: Tensor) -> Detections:
        size = tuple(self._input.shape[2:])
        bgr = F.interpolate(image.flip(0)[None].float() / 255, size, mode="area")
        output = torch.from_numpy(self._session.run(None, {self._input.name: bgr.numpy()})[0][0])
        height, width = output.shape[1:]
        probability, classes = output[5:].max(0)
        scores = output[0] * probability
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centre = torch.stack(((x + output[1].tanh()) / width, (y + output[2].tanh()) / height), -1)
        half = output[3:5].sigmoid().permute(1, 2, 0) / 2
        scale = torch.tensor([image.shape[2], image.shape[1]] * 2)
        boxes = torch.cat((centre - half, centre + half), -1) * scale
        seen = scores >= FAINT
        return suppressed(Detections(boxes[seen], scores[seen], classes[seen]), self.OVERLAP)


class TorchvisionDetector:
    """A detector of torchvision by name, on COCO; see `torchvision_model`."""

    def __init__(self, name: str) -> None:
        self._model, _ = torchvision_model(name, "detection")

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Detections:
        (found,) = self._model([image.float() / 255])
        every = Detections(found["boxes"], found["scores"], found["labels"])
        return every[every.scores >= FAINT]


@dataclass(frozen=True)
class Matches:
    """Detections of one image against the true ones.

    Attributes:
        scores: [K], highest first.
        hits: [K], whether each found a true box that none of a higher score had found.
        truths: how many true boxes there are.
    """

    scores: np.ndarray
    hits: np.ndarray
    truths: int


class Detection:
    """Agreement with the detections of the clean image, as AP50 over all classes together."""

    name = "detection"
    measure = "AP50"

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def predict(self, image: Tensor) -> Detections:
        return self._detector(image)

    def compare(self, found: Detections, clean: Detections) -> Matches:
        """A detection is right where an unclaimed confident one of its class is in its place."""
        truth = clean[clean.scores >= CONFIDENT]
        found = found[found.scores.argsort(descending=True, stable=True)]
        overlap = intersection_over_union(found.boxes, truth.boxes)
        overlap = overlap * (found.classes[:, None] == truth.classes[None, :])
        hits = []
        for row in overlap:
            best = int(row.argmax()) if len(row) else 0
            hits.append(len(row) > 0 and bool(row[best] >= SAME_PLACE))
            if hits[-1]:
                overlap[:, best] = 0
        return Matches(found.scores.numpy(), np.array(hits, dtype=bool), len(truth.scores))

    def score(self, matches: Sequence[Matches]) -> float:
        """Area under precision over recall, the precision made to fall only; nan without truth."""
        truths = sum(each.truths for each in matches)
        if not truths:
            return float("nan")
        order = np.argsort(-np.concatenate([each.scores for each in matches]), kind="stable")
        hits = np.concatenate([each.hits for each in matches])[order]
        precision = hits.cumsum() / np.arange(1, len(hits) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        return float(envelope[hits].sum() / truths)

    def draw(self, image: Tensor, found: Detections) -> Tensor:
        """The confident boxes on the image."""
        drawn = image.clone()
        _, height, width = image.shape
        yellow = torch.tensor([255, 220, 0], dtype=torch.uint8)[:, None, None]
        for box in found[found.scores >= CONFIDENT].boxes.round().int().tolist():
            left, right = (min(max(value, 0), width - 2) for value in box[::2])
            top, bottom = (min(max(value, 0), height - 2) for value in box[1::2])
            for y in (top, bottom):
                drawn[:, y : y + 2, left : right + 2] = yellow
            for x in (left, right):
                drawn[:, top : bottom + 2, x : x + 2] = yellow
        return drawn


def intersection_over_union(a: Tensor, b: Tensor) -> Tensor:
    """Of every box of `a` with every one of `b`, [K, K]."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (a, b)]
    return both / (areas[0][:, None] + areas[1][None, :] - both)


def suppressed(found: Detections, overlap: float) -> Detections:
    """Without those that overlap one of a higher score by more than `overlap`."""
    found = found[found.scores.argsort(descending=True, stable=True)]
    together = intersection_over_union(found.boxes, found.boxes) > overlap
    kept: list[int] = []
    for index in range(len(found.scores)):
        if not together[index, kept].any():
            kept.append(index)
    return found[torch.tensor(kept, dtype=torch.long)]
