"""Streaks of rain: drops convolved with the line they fall, and parts of rendered masks.

Shapes: N batch, L streak layers, K drops of a layer, M masks, H height, W width.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_STREAK_PX = 96
"""Longest streak; the rain falls on a torus this much larger than the frame."""


@dataclass(frozen=True)
class StreakShape:
    """One shape per layer, [N, L] each.

    Attributes:
        angle: radians from straight down.
        length, width: pixels.
        hardness: exponent of the profile across: 2 is a Gaussian, 8 nearly a box.
    """

    angle: Tensor
    length: Tensor
    width: Tensor
    hardness: Tensor

    def spectrum(self, size: tuple[int, int]) -> Tensor:
        """Fourier transform of a streak of peak 1 on a torus of `size`, [N, L, H, W/2+1]."""
        device = self.angle.device
        y, x = ((torch.arange(s, device=device) + s // 2) % s - s // 2 for s in size)
        y, x = y[:, None], x[None, :]
        angle, length, width, hardness = (
            value[..., None, None] for value in (self.angle, self.length, self.width, self.hardness)
        )
        along = (y * angle.cos() + x * angle.sin()).abs() - length / 2
        across = x * angle.cos() - y * angle.sin()
        distance = torch.hypot(along.clamp(min=0), across) / (width / 2)
        spectrum: Tensor = torch.fft.rfft2(torch.exp(-(distance**hardness) * math.log(2)))
        return spectrum


class Drops:
    """Drops scattered over a torus, K in each layer.

    Args:
        start: [N, L, K, 2], where each drop begins, as shares of height and width.
        brightness: [N, L, K], 1 is white.
        size: of the torus, pixels.
    """

    def __init__(self, start: Tensor, brightness: Tensor, size: tuple[int, int]) -> None:
        self._size = size
        self._start = start * torch.tensor(size, device=start.device)
        self._brightness = brightness

    def streaks(self, spectrum: Tensor, shift: Tensor, whole_pixels: bool) -> Tensor:
        """The layers together, [N, H, W].

        Args:
            spectrum: of each layer's streak, see `StreakShape.spectrum`.
            shift: [N, L, 2], how far each layer has fallen, (y, x) in pixels.
            whole_pixels: put drops on pixel centres; false spreads them over four pixels.
        """
        layers = torch.fft.rfft2(self._points(shift, whole_pixels)) * spectrum
        field: Tensor = torch.fft.irfft2(layers.sum(1), s=self._size)
        return field

    def _points(self, shift: Tensor, whole_pixels: bool) -> Tensor:
        height, width = self._size
        position = self._start + shift[:, :, None]
        corner = position.floor()
        part = torch.zeros_like(position) if whole_pixels else position - corner
        index = corner.long()
        n, layers, _ = self._brightness.shape
        field = self._brightness.new_zeros(n, layers, height * width)
        for down, right in ((0, 0),) if whole_pixels else ((0, 0), (0, 1), (1, 0), (1, 1)):
            y = part[..., 0] if down else 1 - part[..., 0]
            x = part[..., 1] if right else 1 - part[..., 1]
            cell = (index[..., 0] + down) % height * width + (index[..., 1] + right) % width
            field.scatter_add_(2, cell, self._brightness * y * x)
        return field.view(n, layers, height, width)


def mask_parts(masks: Tensor, choice: Tensor, height: int, width: int) -> Tensor:
    """Parts of rendered masks, mirrored or not, [N, L, height, width] in [0, 1].

    Args:
        masks: [M, H, W] uint8; a part larger than that repeats it.
        choice: [N, L, 4] in [0, 1): which mask, top, left, mirrored.
    """
    m, mask_height, mask_width = masks.shape
    which, top, left = (
        (choice[..., i] * count).long() for i, count in enumerate((m, mask_height, mask_width))
    )
    mirror = torch.where(choice[..., 3] < 0.5, -1, 1)
    y = (top[..., None] + torch.arange(height, device=masks.device)) % mask_height
    x = (
        left[..., None] + mirror[..., None] * torch.arange(width, device=masks.device)
    ) % mask_width
    return masks[which[..., None, None], y[..., :, None], x[..., None, :]].float() / 255
