"""Batches of rainy clips for a network with a memory.

Shapes: T frames, N clips side by side, H height, W width.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sapnet_stream.networks.alignment import View
from sapnet_stream.networks.background import BackgroundMemory
from sapnet_stream.networks.sapnet_video import FIRST_LOOKS
from sapnet_training.video_rain import VideoRain
from sapnet_training.video_scenes import Draw, make_scene

MEASURING_ERROR_PX = 0.1
"""Of the camera's motion, standard deviation."""


class Clips(NamedTuple):
    """N clips of T frames, and what the background memory says at each frame.

    The first frame comes `FIRST_LOOKS` times, as the network looks at it.

    Attributes:
        rainy, clean: [N, T, 3, H, W] RGB in [0, 1].
        past: the memory's statistics minus `rainy`, [N, T, STATISTICS 3, H, W].
        seen: share of the memory that looked here, [N, T, 1, H, W].
        positions: of the cameras, (y, x) in pixels, [N, T, 2].
    """

    rainy: Tensor
    clean: Tensor
    past: Tensor
    seen: Tensor
    positions: Tensor


def make_clips(
    photographs: list[Tensor], rain: VideoRain, clips: int, frames: int, size: int, draw: Draw
) -> Clips:
    """N = `clips` random clips of T = `frames` frames of `size` x `size` pixels.

    `frames` counts every look at the first one, so it is at least `FIRST_LOOKS`.
    """
    parts = [_clip(photographs, rain, frames, size, draw) for _ in range(clips)]
    return Clips(*(torch.stack(tensors) for tensors in zip(*parts, strict=True)))


def _clip(
    photographs: list[Tensor], rain: VideoRain, frames: int, size: int, draw: Draw
) -> tuple[Tensor, ...]:
    order = torch.arange(1 - FIRST_LOOKS, frames + 1 - FIRST_LOOKS).clamp(min=0)
    scene = make_scene(photographs, int(order[-1]) + 1, size, draw)
    rainy, clean, positions = rain(scene.frames, draw)[order], scene.frames[order], scene.positions
    if positions.any():
        positions = positions + MEASURING_ERROR_PX * draw.normal(*positions.shape)
    positions = positions[order]
    memory = BackgroundMemory()
    past, seen = [], []
    for number, (frame, (y, x)) in enumerate(zip(rainy, positions.tolist(), strict=True), start=1):
        pixels, view = (frame * 255).round().to(torch.uint8), View((y, x))
        statistics, looked, _ = memory.statistics(pixels, view)
        if number >= FIRST_LOOKS:
            memory.push(pixels, view)
        past.append((statistics.float() / 255 - frame).flatten(0, 1))
        seen.append(looked)
    return rainy, clean, torch.stack(past), torch.stack(seen), positions
