"""PSNR and SSIM as the deraining literature reports them.

Images are [3, H, W] uint8 RGB. Y is the luma of BT.601 in limited range (16 to 235), left
unrounded; SSIM has an 11x11 window with sigma 1.5 and takes valid windows only.
"""

import math

import torch
from torch import Tensor

from sapnet_stream.errors import InputError
from sapnet_training.losses import SSIM_WINDOW_PX, ssim


def luma(image: Tensor) -> Tensor:
    """[1, H, W] float64 BT.601 limited-range Y, 16 to 235, of a [3, H, W] uint8 RGB image."""
    weight = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64).view(3, 1, 1)
    return (image.double() / 255 * weight).sum(0, keepdim=True) + 16


def psnr(a: Tensor, b: Tensor) -> float:
    """Decibels for a peak of 255; infinite for equal images."""
    return decibels((a.double() - b.double()).square())


def decibels(squares: Tensor) -> float:
    """The same of squared errors."""
    error = squares.mean().item()
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim_255(a: Tensor, b: Tensor) -> float:
    """Structural similarity of two images [C, H, W] of peak 255, averaged over channels.

    Raises:
        InputError: no window fits into them.
    """
    height, width = a.shape[1:]
    if min(height, width) < SSIM_WINDOW_PX:
        raise InputError(
            f"SSIM needs images of {SSIM_WINDOW_PX} pixels and more, one is {width}x{height}: "
            "leave it out"
        )
    return ssim(a[None].double(), b[None].double(), peak=255.0).item()
