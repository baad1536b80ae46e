"""Levels of 8 bits."""

import torch
from torch import Tensor


def to_bytes(image: Tensor) -> Tensor:
    """The nearest levels of samples in [0, 1], uint8 of any shape; what lies beyond is cut off."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def to_8_bits(image: Tensor) -> Tensor:
    """The same still in [0, 1], as a file of 8 bits holds it."""
    return (image.clamp(0, 1) * 255).round() / 255
