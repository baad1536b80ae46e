"""What JPEG does to an image, without its entropy coding: vectorised, on any device.

Shapes: N batch, H height, W width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_PX = 8
UNIT_PX = 16
"""A block of chroma covers two by two blocks of luma."""

# ITU-T T.81, tables K.1 and K.2, for quality 50.
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *(((99,) * 8,) * 4),
)
TO_YCBCR = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)


def compress(image: Tensor, quality: Tensor) -> Tensor:
    """The image as a 4:2:0 JPEG file of that quality would hold it, in [0, 1].

    Args:
        image: [N, 3, H, W] float RGB in [0, 1].
        quality: [N], 1 to 100, as libjpeg counts it.
    """
    height, width = image.shape[2:]
    padding = (0, -width % UNIT_PX, 0, -height % UNIT_PX)
    matrix = torch.tensor(TO_YCBCR, device=image.device)
    planes = F.pad(image * 255, padding, mode="replicate")
    y, colour = torch.einsum("cd,ndhw->nchw", matrix, planes).split_with_sizes((1, 2), 1)
    y = _quantised(y - 128, LUMA, quality) + 128
    colour = _quantised(F.avg_pool2d(colour, 2), CHROMA, quality)
    colour = F.interpolate(colour, scale_factor=2, mode="bilinear", align_corners=False)
    planes = torch.einsum("cd,ndhw->nchw", matrix.inverse(), torch.cat((y, colour), 1))
    return (planes[:, :, :height, :width] / 255).clamp(0, 1)


def _quantised(planes: Tensor, table: tuple[tuple[int, ...], ...], quality: Tensor) -> Tensor:
    n, channels, height, width = planes.shape
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)[:, None, None]
    steps = (torch.tensor(table, device=planes.device) * scale).round().clamp(1, 255)
    steps = steps[:, None, None, :, None]  # [N, 1, 1, 8, 1, 8] beside the blocks
    basis = _cosines(planes.device)
    blocks = planes.view(n, channels, height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX)
    waves = torch.einsum("ui,nchiwj,vj->nchuwv", basis, blocks, basis)
    waves = (waves / steps).round() * steps
    return torch.einsum("ui,nchuwv,vj->nchiwj", basis, waves, basis).reshape(planes.shape)


def _cosines(device: torch.device) -> Tensor:
    """The orthonormal DCT of 8 samples, rows by frequency."""
    index = torch.arange(BLOCK_PX, device=device)
    basis = torch.cos(math.pi / BLOCK_PX * (index + 0.5) * index[:, None]) / 2
    basis[0] /= math.sqrt(2)
    return basis
