"""ImageNet networks that only look: frozen, built once, feature maps of several depths.

Shapes: N batch, C channels, H height, W width.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sapnet_stream.errors import WeightsError
from sapnet_training.torchvision_model import torchvision

RESNET_CHANNELS = {
    "resnet18": (64, 128, 256, 512),
    "resnet50": (256, 512, 1024, 2048),
    "resnet101": (256, 512, 1024, 2048),
}
NAMES = ("vgg16", *RESNET_CHANNELS)
VGG16_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3))
"""Channels and convolutions of each block up to relu4_3; a 2x2 maximum between blocks."""

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
FILE_STEMS = {"vgg16": "vgg16_features_relu4_3"}
"""Files not named as torchvision names the network."""


class VGG16Features(nn.Module):
    """relu1_2, relu2_2, relu3_3, relu4_3 of VGG-16, [N, C, H/s, W/s], s = 1, 2, 4, 8.

    The keys are torchvision's. Built here, because torchvision's own VGG-16 comes with its
    classifier, half a gigabyte that is thrown away at once.
    """

    channels = tuple(width for width, _ in VGG16_BLOCKS)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self._ends = []
        before = 3
        for width, convolutions in VGG16_BLOCKS:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for _ in range(convolutions):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            self._ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self._ends:
                maps.append(x)
        return maps


class ResNetFeatures(nn.Module):
    """The four stages of a ResNet, [N, C, H/s, W/s], s = 4, 8, 16, 32; torchvision's keys."""

    def __init__(self, name: str) -> None:
        super().__init__()
        network = torchvision(name).models.get_model(name, weights=None)
        self.channels = RESNET_CHANNELS[name]
        self.conv1, self.bn1, self.relu = network.conv1, network.bn1, network.relu
        self.maxpool = network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


class Backbone(nn.Module):
    """A frozen ImageNet network; the gradient passes through it to the image.

    Args:
        name: one of `NAMES`.
        folder: where `imagenet_weights` looks; None downloads.
        normalise: to ImageNet's mean and deviation. The paper's code does not, which is
            not what the weights were trained on.

    Raises:
        UsageError: torchvision is needed and not installed.
        WeightsError: the weights cannot be had.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, folder: Path | None = None, normalise: bool = True) -> None:
        super().__init__()
        trunk = VGG16Features() if name == "vgg16" else ResNetFeatures(name)
        load_frozen(trunk, imagenet_weights(name, folder), name)
        self.trunk = trunk
        self.channels: tuple[int, ...] = trunk.channels
        mean, deviation = (MEAN, DEVIATION) if normalise else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps from fine to coarse of [N, 3, H, W] RGB in [0, 1]."""
        maps: list[Tensor] = self.trunk((image - self.mean) / self.deviation)
        return maps


def imagenet_weights(name: str, folder: Path | None) -> dict[str, Tensor]:
    """A network's ImageNet weights under torchvision's keys.

    Args:
        name: as torchvision spells it.
        folder: holds `NAME.safetensors` (`vgg16_features_relu4_3.safetensors` for vgg16);
            None takes torchvision's download and its cache.

    Raises:
        UsageError: there is no torchvision to download with.
        WeightsError: no such file, no safetensors, or the download failed.
    """
    if folder is None:
        source = torchvision(name).models.get_model_weights(name)["IMAGENET1K_V1"]
        try:
            weights: dict[str, Tensor] = source.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"cannot download {source.url} ({error}): connect, or give --backbone-weights "
                f"a folder with {_file_name(name)}"
            ) from error
        return weights
    path = folder / _file_name(name)
    try:
        loaded: dict[str, Tensor] = load_file(path)
    except FileNotFoundError:
        raise WeightsError(
            f"there is no {path}: add it, choose another network, or leave --backbone-weights "
            "away to download"
        ) from None
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({error}): replace it") from error
    return loaded


def load_frozen(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Copies what `network` needs out of `weights`, and freezes it in eval mode.

    Raises:
        WeightsError: a tensor is missing or has another shape; it is named.
    """
    state = network.state_dict()
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):  # counts training steps; older files lack it
            continue
        if key not in weights or weights[key].shape != value.shape:
            raise WeightsError(
                f"the weights of {name} lack {key} of shape {tuple(value.shape)}: "
                "give a file of the whole network"
            )
        value.copy_(weights[key])
    network.requires_grad_(False).eval()


def _file_name(name: str) -> str:
    return f"{FILE_STEMS.get(name, name)}.safetensors"
