"""The static-camera benchmark: what a memory must be good at, and where ghosts would show.

Four photographs that nothing here is trained on, seen by a camera on a tripod through heavy
rain and sensor noise; an object passes. Everything is made in float64 from one seed, so that
every machine makes the same bytes.

Shapes: T frames, H height, W width.
"""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sapnet_training.clip import PHOTOGRAPHS, photographs
from sapnet_training.levels import to_bytes
from sapnet_training.metrics import luma
from sapnet_training.streaks import MAX_STREAK_PX, Drops, StreakShape

FRAMES = 48
SIZE = (240, 320)
RAINY_DECIBELS = 24.0
NOISE = 2 / 255
OBJECT_PX = (80, 60)
ENTERS, SPEED_PX = 18, 20
"""The object enters at the left after frame 18 and has left at the right 19 frames later."""
DIGESTS = (
    "0530aa39f90439de8c5e4a5e1cb283002c6ad2aacce4249c989d270b99ba69a3",
    "16d235522b3fe9674ad3efd59c1fb98b2b0b6fb52a907b36619b2ef2398a0324",
    "b6d0285459c6e3de5132748466e7d77d5a557aa4d46710c0a6d5f40fa158a9c3",
    "2a4423cb9af5b4ea144f9d069f1e77b39f5bf1652c58e421936fa5cfe7c189c1",
)
"""Of each clip, see `digest`."""
LAST_SEEN = 15
"""Frames in which the place the object has left is looked at for ghosts."""
LAYERS = ((4, 10, 1.0, 0.8), (7, 18, 1.3, 0.6), (10, 32, 1.8, 0.35), (6, 60, 2.5, 0.1))
"""Of the rain: degrees from upright, length and width in pixels, drops per 1000 pixels."""


@dataclass(frozen=True)
class StaticClip:
    """One clip, [T, 3, H, W] uint8 each.

    Attributes:
        rainy: what the camera records.
        scene: the scene with the object, without rain and noise.
        covered: where the object is, [T, H, W] bool.
    """

    rainy: Tensor
    scene: Tensor
    covered: Tensor


def static_clips() -> list[StaticClip]:
    """The benchmark, one clip per photograph."""
    return [static_clip(number) for number in range(len(PHOTOGRAPHS))]


def static_clip(number: int) -> StaticClip:
    """One of its clips; the object is a piece of the next photograph."""
    images = photographs()
    image, other = (_fitted(images[n % len(images)]) for n in (number, number + 1))
    return _clip(image, other, torch.Generator().manual_seed(number))


def digest(clip: StaticClip) -> str:
    """The sha256 of the rainy frames."""
    return hashlib.sha256(clip.rainy.numpy().tobytes()).hexdigest()


def _fitted(image: Tensor) -> Tensor:
    """The middle of a photograph, [3, H, W] float64 in [0, 1]."""
    top, left = ((side - size) // 2 for side, size in zip(image.shape[1:], SIZE, strict=True))
    return image[:, top : top + SIZE[0], left : left + SIZE[1]].double() / 255


def _clip(image: Tensor, other: Tensor, generator: torch.Generator) -> StaticClip:
    scene = image.repeat(FRAMES, 1, 1, 1)
    covered = torch.zeros(FRAMES, *SIZE, dtype=torch.bool)
    height, width = OBJECT_PX
    top, piece = (SIZE[0] - height) // 2, other[:, :height, :width]
    for frame in range(FRAMES):
        left = (frame - ENTERS) * SPEED_PX - width
        first, last = max(0, left), min(SIZE[1], left + width)
        if first < last:
            scene[frame, :, top : top + height, first:last] = piece[
                :, :, first - left : last - left
            ]
            covered[frame, top : top + height, first:last] = True
    noise = NOISE * torch.randn(scene.shape, dtype=torch.float64, generator=generator)
    streaks = _rain(generator)[:, None] * (1 - 0.5 * scene)
    rainy = _in_decibels(scene, streaks, noise)
    return StaticClip(rainy, to_bytes(scene), covered)


def _rain(generator: torch.Generator) -> Tensor:
    """Brightness of falling streaks, [T, H, W]."""
    size = (SIZE[0] + MAX_STREAK_PX, SIZE[1] + MAX_STREAK_PX)
    degrees, length, width, density = torch.tensor(LAYERS, dtype=torch.float64).T[:, None]
    angle = degrees * (math.pi / 180)
    spectrum = StreakShape(angle, length, width, torch.full_like(angle, 3.0)).spectrum(size)
    count = (density * size[0] * size[1] / 1000).long()
    most = int(count.max())
    drops = torch.rand(1, len(LAYERS), most, 3, dtype=torch.float64, generator=generator)
    brightness = (0.3 + 0.7 * drops[..., 2]) * (torch.arange(most) < count[..., None])
    field = Drops(drops[..., :2], brightness, size)
    velocity = 1.7 * length[..., None] * torch.stack((angle.cos(), angle.sin()), dim=-1)
    frames = [field.streaks(spectrum, frame * velocity, False)[0] for frame in range(FRAMES)]
    return torch.stack(frames)[:, : SIZE[0], : SIZE[1]].clamp(0, 1)


def _in_decibels(scene: Tensor, streaks: Tensor, noise: Tensor) -> Tensor:
    """The scene in rain of the strength that gives `RAINY_DECIBELS`, [T, 3, H, W] uint8."""
    low, high = 0.0, 2.0
    wanted = 255 * 10 ** (-RAINY_DECIBELS / 20)
    clean = to_bytes(scene)
    for _ in range(8):
        strength = (low + high) / 2
        rainy = to_bytes(scene + strength * streaks + noise)
        error = luma_error(rainy[::6], clean[::6]).mean().sqrt().item()
        low, high = (strength, high) if error < wanted else (low, strength)
    return rainy


def luma_error(a: Tensor, b: Tensor) -> Tensor:
    """Squared difference of Y, [T, H, W] float64, of two [T, 3, H, W] uint8 clips."""
    return torch.stack([(luma(x) - luma(y)).square()[0] for x, y in zip(a, b, strict=True)])
