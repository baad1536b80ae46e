"""Batches of rainy clips for a network with a memory.

Shapes: T frames, N clips side by side, H height, W width.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sapnet_stream.networks.alignment import View
from sapnet_stream.networks.background import BackgroundMemory
from sapnet_training.video_rain import VideoRain
from sapnet_training.video_scenes import Draw, make_scene

MEASURING_ERROR_PX = 0.1
"""Of the camera's motion, standard deviation."""


class Clips(NamedTuple):
    """N clips of T frames, and what the background memory says at each frame.

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
    """N = `clips` random clips of T = `frames` frames of `size` x `size` pixels."""
    parts = [_clip(photographs, rain, frames, size, draw) for _ in range(clips)]
    return Clips(*(torch.stack(tensors) for tensors in zip(*parts, strict=True)))


def _clip(
    photographs: list[Tensor], rain: VideoRain, frames: int, size: int, draw: Draw
) -> tuple[Tensor, ...]:
    scene = make_scene(photographs, frames, size, draw)
    rainy = rain(scene.frames, draw)
    positions = scene.positions
    if positions.any():
        positions = positions + MEASURING_ERROR_PX * draw.normal(frames, 2)
    memory = BackgroundMemory()
    past, seen = [], []
    for frame, (y, x) in zip(rainy, positions.tolist(), strict=True):
        pixels, view = (frame * 255).round().to(torch.uint8), View((y, x))
        statistics, looked, _ = memory.statistics(pixels, view)
        memory.push(pixels, view)
        past.append((statistics.float() / 255 - frame).flatten(0, 1))
        seen.append(looked)
    return rainy, scene.frames, torch.stack(past), torch.stack(seen), positions
