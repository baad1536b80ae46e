"""Clips without rain from photographs: a camera, objects in front of it, light that changes.

Shapes: T frames, H height, W width; photographs are [3, H, W] uint8.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_OBJECT = 0.7
"""Of a frame's side."""


@dataclass(frozen=True)
class Scene:
    """A clip, and what is known about it.

    Attributes:
        frames: [T, 3, H, W] float32 RGB in [0, 1].
        positions: the camera's, [T, 2] as (y, x) in pixels.
    """

    frames: Tensor
    positions: Tensor


class Draw:
    """Random numbers of one generator, in the shapes that scenes need."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def chance(self, share: float) -> bool:
        return self.uniform(0, 1) < share

    def below(self, limit: int) -> int:
        return int(torch.randint(limit, (), generator=self.generator))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def smooth(self, channels: int, cells: int, size: int) -> Tensor:
        """[1, channels, size, size] of unit variance or less, `cells` bumps across."""
        coarse = self.normal(1, channels, cells + 3, cells + 3)
        return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)


def make_scene(photographs: Sequence[Tensor], frames: int, size: int, draw: Draw) -> Scene:
    """One clip of `frames` frames of `size` x `size` pixels."""
    positions = _camera(frames, draw)
    clean = _filmed(_photograph(photographs, size, draw), positions, size, draw)
    if draw.chance(0.65):
        for _ in range(1 + draw.below(3)):
            clean = _object(photographs, clean, draw)
    if draw.chance(0.25):
        flicker = 0.02 * draw.normal(frames, 1, 1, 1)
        drift = torch.linspace(0, draw.uniform(-0.1, 0.1), frames).view(-1, 1, 1, 1)
        clean = clean * (1 + flicker + drift)
    return Scene(clean.clamp(0, 1), positions)


def _photograph(photographs: Sequence[Tensor], size: int, draw: Draw) -> Tensor:
    """A photograph at a random scale, mirrored or not, [3, H, W] float, at least `size`."""
    image = photographs[draw.below(len(photographs))].float() / 255
    image = image.flip(2) if draw.chance(0.5) else image
    most = min(image.shape[1:]) / (size + 24)
    scale = min(most, draw.uniform(0.9, 1.8))
    target = [round(side / scale) for side in image.shape[1:]]
    return F.interpolate(image[None], target, mode="bilinear", antialias=True)[0]


def _camera(frames: int, draw: Draw) -> Tensor:
    """Positions (y, x) in pixels over time, [T, 2], from 0."""
    kind = draw.uniform(0, 1)
    if kind < 0.4:
        return torch.zeros(frames, 2)
    angle = draw.uniform(0, 2 * math.pi)
    # Pans are mostly level.
    direction = torch.tensor([0.3 * math.sin(angle), math.cos(angle)])
    speed = draw.uniform(0, 3.5) if kind < 0.85 else 0.0
    time = torch.arange(frames).float()
    pace = 1 + 0.5 * torch.sin(time * draw.uniform(0, 0.4))
    path = torch.cumsum(pace[:, None] * speed * direction, 0)
    if draw.chance(0.3):  # stands still first
        path = path[(torch.arange(frames) - draw.below(frames)).clamp(min=0)]
    if kind > 0.7:
        path = path + 0.5 * torch.cumsum(draw.normal(frames, 2), 0)
    if draw.chance(0.3):
        path = path + 0.3 * draw.normal(frames, 2)
    return path - path[0]


def _filmed(image: Tensor, positions: Tensor, size: int, draw: Draw) -> Tensor:
    """What the camera sees of a photograph at these positions, [T, 3, size, size]."""
    frames = len(positions)
    height, width = image.shape[1:]
    room = torch.tensor([height - size, width - size]).float()
    start = torch.tensor([draw.uniform(0.0, 1.0), draw.uniform(0.0, 1.0)]) * room
    middle = positions.mean(0)
    start = torch.minimum(torch.maximum(start, -positions.amin(0)), room - positions.amax(0))
    start = torch.where(positions.amax(0) - positions.amin(0) > room, room / 2 - middle, start)
    pixels = torch.arange(size).float()
    grid = torch.stack(torch.meshgrid(pixels, pixels, indexing="ij"))
    offset = positions + start
    where = grid[None] + offset[:, :, None, None]
    moves = bool(positions.abs().max() > 0)
    if not moves:
        where = where.round()
    if moves and draw.chance(0.4):  # near things move more than far ones
        where = where + 0.1 * draw.smooth(1, 3, size) * positions[:, :, None, None]
    if moves and draw.chance(0.25):
        zoom = draw.uniform(-0.004, 0.004) * torch.arange(frames).float()
        centred = where - offset[:, :, None, None] - size / 2
        where = where + zoom.view(-1, 1, 1, 1) * centred
    if draw.chance(0.2):  # leaves in the wind
        phase = torch.arange(frames).float() * draw.uniform(0.2, 1.0)
        sway = draw.smooth(2, 5, size) * draw.uniform(0.2, 1.5)
        sway = sway * (draw.smooth(1, 2, size) > 0)
        where = where + sway * torch.sin(phase + draw.uniform(0, 6)).view(-1, 1, 1, 1)
    half = torch.tensor([width / 2, height / 2])
    points = (where.flip(1).permute(0, 2, 3, 1) + 0.5) / half - 1
    return F.grid_sample(
        image.expand(frames, -1, -1, -1),
        points,
        mode="bicubic",
        padding_mode="reflection",
        align_corners=False,
    ).clamp(0, 1)


def _object(photographs: Sequence[Tensor], clean: Tensor, draw: Draw) -> Tensor:
    """A piece of another photograph passes in front, and may stop on its way."""
    frames, _, size, _ = clean.shape
    side = int(draw.uniform(8, LARGEST_OBJECT * size))
    image = photographs[draw.below(len(photographs))]
    top, left = (draw.below(length - side) for length in image.shape[1:])
    piece = image[:, top : top + side, left : left + side].float() / 255
    if draw.chance(0.3):  # nothing but its colour tells it from rain
        mean = piece.mean((1, 2), keepdim=True)
        piece = (mean + draw.uniform(-0.3, 0.3)).clamp(0, 1) + 0.2 * (piece - mean)
    line = torch.linspace(-1, 1, side)
    power = 2 + 6 * draw.uniform(0, 1)
    shape = line.abs()[:, None] ** power + line.abs()[None] ** power
    mask = ((1 - shape) * side / 4).clamp(0, 1)
    speed = 0.3 * 80 ** draw.uniform(0, 1)
    angle = draw.uniform(0, 2 * math.pi)
    step = torch.tensor([0.5 * math.sin(angle), math.cos(angle)]) * speed
    path = torch.cumsum(step.expand(frames, 2), 0)
    if draw.chance(0.4):
        path = path[(torch.arange(frames) - draw.below(frames)).clamp(min=0)]
    elif draw.chance(0.4):
        path = path[torch.arange(frames).clamp(max=draw.below(frames))]
    at_middle = torch.tensor([draw.uniform(0, 1), draw.uniform(0, 1)]) * (size - side / 2)
    places = (path - path[frames // 2] + at_middle).round().long().tolist()
    layers = clean.clone()
    for layer, (y, x) in zip(layers, places, strict=True):
        rows, columns = _inside(y, side, size), _inside(x, side, size)
        if rows is None or columns is None:
            continue
        part = layer[:, rows[0], columns[0]]
        part += mask[rows[1], columns[1]] * (piece[:, rows[1], columns[1]] - part)
    return layers


def _inside(start: int, length: int, size: int) -> tuple[slice, slice] | None:
    """Where in the frame, and of the object, `length` pixels from `start` on are in view."""
    low, high = max(0, start), min(size, start + length)
    if low >= high:
        return None
    return slice(low, high), slice(low - start, high - start)
