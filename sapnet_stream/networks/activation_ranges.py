"""How large the values inside a SAPNetVideo become, for those who count them in bytes.

Shapes: C channels, H height, W width.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sapnet_stream.errors import WeightsError
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import tensors_sha256

HEADROOM = 1.5
"""Over what the clips here bring about; photographs in the rain need up to 1.6."""
ENTRY_SHARE = 0.6
"""Of what they bring about in the first convolution: gates behind it are saturated by more."""
_SIZE = 96, 160
_FRAMES = 10
_LEAVES = 400
_STREAK_PX = 12


@dataclass(frozen=True)
class ActivationRanges:
    """Largest values, none of which is ever negative.

    Attributes:
        entry: of the first convolution's result, [C], but for its rare peaks.
        inner: between the two convolutions of each progressive dilated unit, [C] each.
        refined: of any unit's result.
    """

    entry: Tensor
    inner: list[Tensor]
    refined: float


# By the weights' hash. Cameras share a network, and each size has an executor of its own.
_KNOWN: dict[str, ActivationRanges] = {}


def activation_ranges(network: SAPNetVideo) -> ActivationRanges:
    """Seen while the network runs on clips of rain that are made here, always the same.

    Takes some tenths of a second, but for weights that were seen before.

    Raises:
        WeightsError: its results are no numbers.
    """
    known = tensors_sha256(network.state_dict())
    if known not in _KNOWN:
        _KNOWN[known] = _seen(copy.deepcopy(network).to("cpu", torch.float32))
    return _KNOWN[known]


@torch.no_grad()
def _seen(network: SAPNetVideo) -> ActivationRanges:
    inside = [unit[2] for unit in network.pdus]
    with (
        _largest(network.conv0) as entry,
        _largest(*inside) as inner,
        _largest(*network.pdus) as refined,
    ):
        for step in (0, 2):
            state = network.initial(*_SIZE)
            for frame in _clip(step):
                _, state = network(frame, state)
    if not all(largest.isfinite().all() for largest in (*entry, *inner, *refined)):
        raise WeightsError("the network's results are no numbers: its weights are damaged")
    return ActivationRanges(
        ENTRY_SHARE * entry[0],
        [HEADROOM * largest for largest in inner],
        HEADROOM * float(torch.stack(refined).max()),
    )


@contextmanager
def _largest(*layers: nn.Module) -> Iterator[list[Tensor]]:
    """Per channel what each of the layers' results reaches while this lasts."""
    found = [torch.zeros(1) for _ in layers]

    def watch(number: int, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def look(_: nn.Module, __: object, result: Tensor) -> None:
            found[number] = torch.maximum(found[number], result.amax((0, 2, 3)))

        return layer.register_forward_hook(look)

    handles = [watch(number, layer) for number, layer in enumerate(layers)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _clip(step: int) -> Iterator[Tensor]:
    """Frames [1, 3, H, W] of falling streaks before leaves that lie on each other.

    Dead leaves of all sizes have the edges and contrasts of photographs (Lee, Mumford and Huang,
    "Occlusion models for natural images", 2001).

    Args:
        step: of a camera that moves, pixels per frame.
    """
    generator = torch.Generator().manual_seed(0)
    height, width = _SIZE
    wide = width + step * _FRAMES
    scene = torch.full((1, 3, height, wide), 0.5)
    for _ in range(_LEAVES):
        y, x, rows, columns = torch.rand(4, generator=generator).tolist()
        top, left = int(y * height), int(x * wide)
        # Many small ones, few large ones.
        bottom, right = top + int(4 / (rows + 0.04)), left + int(4 / (columns + 0.04))
        scene[:, :, top:bottom, left:right] = torch.rand(1, 3, 1, 1, generator=generator)
    for number in range(_FRAMES):
        drops = torch.rand(1, 1, height + _STREAK_PX, width, generator=generator) > 0.995
        streaks = nn.functional.avg_pool2d(drops.float(), (_STREAK_PX, 1), 1)[:, :, :height]
        view = scene[:, :, :, number * step : number * step + width]
        yield (view + 5 * streaks).clamp(0, 1)
