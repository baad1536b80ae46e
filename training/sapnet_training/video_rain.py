"""Rain that falls through a clip, from streak maps made once.

Shapes: T frames, M maps, H height, W width.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sapnet_training.levels import to_8_bits, to_bytes
from sapnet_training.streaks import Drops, StreakShape
from sapnet_training.video_scenes import Draw

MAP_PX = 256
SLANTS = 9
PER_SLANT = 32


@dataclass(frozen=True)
class StreakMap:
    """Streaks of one kind on a torus, [MAP_PX, MAP_PX] uint8; angle in radians from down."""

    pixels: Tensor
    angle: float
    length: float


class VideoRain:
    """Rain for one clip after the other.

    Args:
        masks: rendered streaks, [M, H, W] uint8.
        seed: of the maps.
    """

    def __init__(self, masks: Tensor, seed: int) -> None:
        draw = Draw(torch.Generator().manual_seed(seed))
        self._masks = masks
        self._maps = [
            [_streak_map(math.radians(8.0 * (slant - SLANTS // 2)), draw) for _ in range(PER_SLANT)]
            for slant in range(SLANTS)
        ]

    def __call__(self, clean: Tensor, draw: Draw) -> Tensor:
        """The clip in rain, [T, 3, H, W] like `clean`, quantised to 8 bits, with noise."""
        frames, _, height, width = clean.shape
        noise = draw.uniform(0, 2.5) / 255 if draw.chance(0.6) else 0.0
        if draw.chance(0.93):
            streaks = self._streaks(frames, height, width, draw)[:, None]
            opacity = draw.uniform(0, 0.8)
            veil = draw.uniform(0, 0.03) if draw.chance(0.3) else 0.0
            clean = clean * (1 - veil) + 0.7 * veil
            clean = clean + streaks * (1 - opacity * clean)
        if noise:
            clean = clean + noise * draw.normal(*clean.shape)
        return to_8_bits(clean)

    def _streaks(self, frames: int, height: int, width: int, draw: Draw) -> Tensor:
        streaks = torch.zeros(frames, height, width)
        # Upright rain is the most common.
        slant = round(SLANTS // 2 + min(1.0, draw.uniform(0, 1.4) ** 2) * draw.uniform(-4.4, 4.4))
        maps = self._maps[min(max(slant, 0), SLANTS - 1)]
        falls = draw.chance(0.5)
        gust = 1 + 0.3 * torch.sin(torch.arange(frames) * draw.uniform(0, 0.6))
        strength = draw.uniform(0.3, 1.1)
        masked = draw.chance(0.35)
        for _ in range(draw.below(4) if masked else 1 + draw.below(4)):
            kind = maps[draw.below(PER_SLANT)]
            gain = gust * strength * draw.uniform(0.15, 0.65) / 255
            cuts = _torus(kind.pixels, _path(kind, frames, falls, draw), height, width)
            streaks += cuts.float() * gain[:, None, None]
        if masked:
            strength = draw.uniform(0.3, 1.2) / 255
            for frame in streaks:
                mask = self._masks[draw.below(len(self._masks))]
                corner = [draw.below(side) for side in mask.shape]
                frame += _torus(mask, [corner], height, width)[0] * strength
        return streaks.clamp(0, 1)


def _path(kind: StreakMap, frames: int, falls: bool, draw: Draw) -> list[list[int]]:
    """Top left corner of the view in the map, per frame."""
    if not falls:  # too fast, or too many, to be followed
        return [[draw.below(MAP_PX), draw.below(MAP_PX)] for _ in range(frames)]
    # The shutter is open for a part of the frame's time: a drop falls further than its streak.
    speed = (kind.length + 2) / draw.uniform(0.3, 0.9)
    step = torch.tensor([math.cos(kind.angle), math.sin(kind.angle)]) * speed
    start = torch.tensor([draw.below(MAP_PX), draw.below(MAP_PX)])
    corner = start - torch.arange(frames)[:, None] * step
    path: list[list[int]] = corner.round().long().tolist()
    return path


def _torus(pixels: Tensor, corners: list[list[int]], height: int, width: int) -> Tensor:
    """[T, height, width] cut from a picture that repeats itself."""
    corner = torch.tensor(corners)
    y = (corner[:, :1] + torch.arange(height)) % pixels.shape[0]
    x = (corner[:, 1:] + torch.arange(width)) % pixels.shape[1]
    return pixels[y[:, :, None], x[:, None, :]]


def _streak_map(slant: float, draw: Draw) -> StreakMap:
    angle = slant + math.radians(draw.uniform(-4, 4))
    length = 3 * 25 ** draw.uniform(0, 1)
    width = draw.uniform(0.8, 2.2) if draw.chance(0.8) else draw.uniform(2, 5)
    # Short or wide streaks are near drops, of which there are fewer.
    density = 0.15 * 40 ** draw.uniform(0, 1) / max(1.0, width * length / 40)
    count = max(8, round(density * MAP_PX * MAP_PX / 1000))
    values = [angle, length, width, draw.uniform(2, 8)]
    shape = StreakShape(*(torch.tensor([[value]]) for value in values))
    size = (MAP_PX, MAP_PX)
    rand = torch.rand(1, 1, count, 3, generator=draw.generator)
    drops = Drops(rand[..., :2], 0.2 + 0.8 * rand[..., 2], size)
    field = drops.streaks(shape.spectrum(size), torch.zeros(1, 1, 2), whole_pixels=False)[0]
    return StreakMap(to_bytes(field), angle, length)
