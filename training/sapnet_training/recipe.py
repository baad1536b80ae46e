"""From a recipe file to what it trains: the one place that knows every task."""

from collections.abc import Iterable
from pathlib import Path

import torch

from sapnet_stream.errors import UsageError
from sapnet_training.config import TrainConfig, read_recipe
from sapnet_training.image_config import ImageConfig
from sapnet_training.image_task import ImageTask
from sapnet_training.task import Task
from sapnet_training.video_config import VideoConfig
from sapnet_training.video_task import VideoTask


def load_config(path: Path, overrides: Iterable[str] = ()) -> TrainConfig:
    """The recipe in a YAML file, `key=value` overrides applied.

    Raises:
        UsageError: see `read_recipe` and `TrainConfig.from_dict`.
    """
    values = read_recipe(path, overrides)
    match values.get("task", "image"):
        case "image":
            return ImageConfig.from_dict(values)
        case "video":
            return VideoConfig.from_dict(values)
        case other:
            raise UsageError(f"task must be image or video, got {other!r}")


def make_task(
    config: TrainConfig, root: Path, device: torch.device, backbone_weights: Path | None
) -> Task:
    """What a recipe trains.

    Args:
        config: of `load_config`.
        root: folder of the data.
        device: of the batches.
        backbone_weights: folder of ImageNet weights, see `imagenet_weights`.
    """
    if isinstance(config, ImageConfig):
        return ImageTask.read(config, root, device, backbone_weights)
    if isinstance(config, VideoConfig):
        return VideoTask.read(config, root, device)
    raise UsageError(f"there is no task {config.task!r}")
