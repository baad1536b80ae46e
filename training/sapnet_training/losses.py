"""Structural similarity (SSIM), the loss and the metric."""

import torch
import torch.nn.functional as F
from torch import Tensor

SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5


def gaussian_window(like: Tensor) -> Tensor:
    """The 11 weights of SSIM's separable Gaussian window, sum 1."""
    offset = torch.arange(SSIM_WINDOW_PX, dtype=like.dtype, device=like.device)
    weight = torch.exp(-((offset - SSIM_WINDOW_PX // 2) ** 2) / (2 * SSIM_SIGMA_PX**2))
    return weight / weight.sum()


def ssim(a: Tensor, b: Tensor, peak: float = 1.0) -> Tensor:
    """Mean structural similarity per image, [N] (Wang et al. 2004, valid windows only).

    Args:
        a, b: [N, C, H, W], H and W at least 11.
        peak: largest possible value.
    """
    n, channels, height, width = a.shape
    window = gaussian_window(a)
    planes = torch.cat((a, b, a * a, b * b, a * b)).reshape(-1, 1, height, width)
    planes = F.conv2d(planes, window.view(1, 1, -1, 1))
    planes = F.conv2d(planes, window.view(1, 1, 1, -1))
    mean_a, mean_b, aa, bb, ab = planes.view(5, n, channels, *planes.shape[2:])
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    square_a, square_b, product = mean_a * mean_a, mean_b * mean_b, mean_a * mean_b
    luminance = (2 * product + c1) / (square_a + square_b + c1)
    contrast = (2 * (ab - product) + c2) / (aa - square_a + bb - square_b + c2)
    score: Tensor = (luminance * contrast).mean((1, 2, 3))
    return score
