"""Batches of rainy clips for a network with a memory.

Shapes: T frames, N clips side by side, H height, W width.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from sapnet_stream.networks.alignment import View
from sapnet_stream.networks.background import LONG, BackgroundMemory
from sapnet_stream.networks.sapnet_video import FIRST_LOOKS, half_shift
from sapnet_training.levels import to_bytes
from sapnet_training.video_rain import VideoRain
from sapnet_training.video_scenes import Draw, make_scene

MEASURING_ERROR_PX = 0.1
"""Of the camera's motion, standard deviation."""


class Clips(NamedTuple):
    """N clips of T frames, and what the background memory says at each frame.

    The first frame comes `FIRST_LOOKS` times, as the network looks at it. Bytes where they say
    as much as floats: a batch goes from process to process and on to a GPU.

    Attributes:
        rainy: [N, T, 3, H, W] uint8 RGB.
        clean: [N, T, 3, H, W] float16 RGB in [0, 1].
        past: the memory's statistics, [N, T, STATISTICS 3, H, W] uint8.
        looks: how many frames of the memory looked here, [N, T, 1, H, W] uint8.
        motion: of the cameras since the frame before, (y, x) in pixels, [N, T, 2] float32.
        shift: the same in whole pixels of half the resolution, see `half_shift`, [N, T, 2] int64.
    """

    rainy: Tensor
    clean: Tensor
    past: Tensor
    looks: Tensor
    motion: Tensor
    shift: Tensor


def make_clips(
    photographs: Sequence[Tensor], rain: VideoRain, clips: int, frames: int, size: int, draw: Draw
) -> Clips:
    """N = `clips` random clips of T = `frames` frames of `size` x `size` pixels.

    `frames` counts every look at the first one, so it is at least `FIRST_LOOKS`.
    """
    parts = [_clip(photographs, rain, frames, size, draw) for _ in range(clips)]
    return Clips(*(torch.stack(tensors) for tensors in zip(*parts, strict=True)))


def _clip(
    photographs: Sequence[Tensor], rain: VideoRain, frames: int, size: int, draw: Draw
) -> tuple[Tensor, ...]:
    order = torch.arange(1 - FIRST_LOOKS, frames + 1 - FIRST_LOOKS).clamp(min=0)
    scene = make_scene(photographs, int(order[-1]) + 1, size, draw)
    rainy, positions = to_bytes(rain(scene.frames, draw)), scene.positions
    if positions.any():
        positions = positions + MEASURING_ERROR_PX * draw.normal(*positions.shape)
    rainy, clean, positions = rainy[order], scene.frames[order], positions[order]
    views = [View((y, x)) for y, x in positions.tolist()]
    memory = BackgroundMemory()
    past, looks = [], []
    for number, (frame, view) in enumerate(zip(rainy, views, strict=True), start=1):
        statistics, seen, _ = memory.statistics(frame, view)
        if number >= FIRST_LOOKS:
            memory.push(frame, view)
        past.append(statistics.flatten(0, 1))
        looks.append((seen * LONG).round().to(torch.uint8))
    motion = positions.diff(dim=0, prepend=positions[:1])
    shift = [half_shift(a.position, b.position) for a, b in pairwise((views[0], *views))]
    clean = clean.to(torch.float16)
    return rainy, clean, torch.stack(past), torch.stack(looks), motion, torch.tensor(shift)
