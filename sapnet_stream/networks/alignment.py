"""How the parts of a picture have moved since another one, and pictures moved back.

A mesh is [N, 2, rows, columns]: how many pixels (y, x) further on, in the past picture, lies
what the middle of that part of the picture shows now. None means that nothing has moved.

Shapes: C channels, H height, W width.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

Position = tuple[float, float]
Mesh = Tensor | None

SMALL_PX = 240
"""Shorter side of the picture that motion is measured in, about."""
BLOCK_PX = 64
"""Side of the blocks of that picture; they overlap by about a third."""
PASS_BAND = 0.12
"""Standard deviation of the low-pass, cycles per pixel: above it there is rain and noise."""
SURE_PEAK = 0.12
"""Phase correlation of a block that moves on its own; with less it follows the camera."""
BANDS = 8
"""Of rows, at most, that a picture is moved in."""
NEAR_PX = 2.0
"""Small pixels within which a block's motion is parallax, beyond it a passing object."""
STILL_PX = 0.25
"""Less motion than this is noise."""


@dataclass(frozen=True)
class View:
    """Where the camera pointed in one frame.

    Attributes:
        position: of the camera, (y, x) in pixels.
        luma: [h, w] small picture; None where only the camera's own motion is known.
    """

    position: Position
    luma: Tensor | None = None

    @cached_property
    def phases(self) -> Tensor | None:
        """Of the picture's blocks, see `block_phases`; a camera on a tripod never needs them."""
        return None if self.luma is None else block_phases(self.luma)


def small_factor(height: int, width: int) -> int:
    """How many pixels are one in the picture that motion is measured in."""
    return max(1, round(min(height, width) / SMALL_PX))


def block_phases(luma: Tensor) -> Tensor | None:
    """Unit spectra of overlapping blocks, low-passed, [rows, columns, B, B / 2 + 1].

    Args:
        luma: [h, w] small picture; None comes back where it is smaller than a block.
    """
    if min(luma.shape) < BLOCK_PX:
        return None
    starts = [_starts(side) for side in luma.shape]
    blocks = torch.stack(
        [luma[y : y + BLOCK_PX, x : x + BLOCK_PX] for y in starts[0] for x in starts[1]]
    )
    phases = unit_spectrum(blocks, math.sqrt(0.5))
    return phases.view(len(starts[0]), len(starts[1]), *phases.shape[1:])


def unit_spectrum(pictures: Tensor, share: float = 1.0) -> Tensor:
    """Phases of [..., h, w] pictures that fade to their mean at the borders.

    The magnitudes are a Gaussian low-pass to the power of `share` squared: it makes a peak of
    the correlation a Gaussian, whose logarithm is a parabola.
    """
    height, width = pictures.shape[-2:]
    device = pictures.device
    window = torch.hann_window(height, False, device=device)[:, None]
    window = window * torch.hann_window(width, False, device=device)
    centred = pictures - pictures.mean((-2, -1), keepdim=True)
    spectrum = torch.fft.rfft2(centred * window)
    fy = torch.fft.fftfreq(height, device=device)[:, None]
    fx = torch.fft.rfftfreq(width, device=device)
    low_pass = torch.exp(-(share**2) * (fy**2 + fx**2) / (2 * PASS_BAND**2))
    phases: Tensor = spectrum * (low_pass / spectrum.abs().clamp(min=1e-9))
    return phases


def correlation_peaks(surface: Tensor) -> tuple[Tensor, Tensor]:
    """Of [n, h, w] phase correlations: [2, n] as (y, x) to a part of a pixel, and [n] heights.

    A height of 1 is a perfect match.
    """
    n, height, width = surface.shape
    top, index = surface.flatten(1).max(1)
    y, x = index // width, index % width
    each = torch.arange(n, device=surface.device)

    def part(dy: int, dx: int) -> Tensor:
        before, after = (
            surface[each, (y + s * dy) % height, (x + s * dx) % width] for s in (-1, 1)
        )
        low, middle, high = (v.clamp(min=1e-6).log() for v in (before, top, after))
        curve = low - 2 * middle + high
        return torch.where(curve < 0, 0.5 * (low - high) / curve.clamp(max=-1e-6), 0.0)

    y, x = y + part(1, 0), x + part(0, 1)
    y, x = torch.where(y > height / 2, y - height, y), torch.where(x > width / 2, x - width, x)
    return torch.stack((y, x)), top / (2 * math.pi * PASS_BAND**2)


def mesh_between(now: View, then: View, factor: int) -> Mesh:
    """How the parts of the picture have moved since `then`.

    Args:
        factor: pixels per pixel of the small pictures.
    """
    shift = [a - b for a, b in zip(now.position, then.position, strict=True)]
    if max(abs(side) for side in shift) < STILL_PX:
        return None
    camera = torch.tensor(shift).view(2, 1)
    if now.phases is None or then.phases is None:
        return camera.view(1, 2, 1, 1)
    rows, columns = now.phases.shape[:2]
    y, x = ((camera / factor).round().long() % BLOCK_PX).flatten().tolist()
    # Filled in there: a copy from here would wait for the device.
    camera = torch.stack([now.phases.new_full((1,), side, dtype=torch.float32) for side in shift])
    size = (BLOCK_PX, BLOCK_PX)
    surface = torch.fft.irfft2((then.phases * now.phases.conj()).flatten(0, 1), s=size)
    local, peak = correlation_peaks(surface)
    expected = surface[:, y, x] / (2 * math.pi * PASS_BAND**2)
    near = (local - camera / factor).abs().amax(0) < NEAR_PX
    sure = (peak > SURE_PEAK) & (near | (expected < 0.5 * peak))
    mesh = torch.where(sure, local * factor, camera).view(2, rows, columns)
    around = F.unfold(F.pad(mesh[:, None], (1, 1, 1, 1), mode="replicate"), 3)
    return around.median(1).values.view(1, 2, rows, columns)


def seen_from_now(past: Tensor, mesh: Mesh, now: Tensor) -> Tensor:
    """A past picture moved to where its parts are now; see `moved`."""
    return past if mesh is None else moved(past, mesh, now)[0]


def moved(past: Tensor, mesh: Tensor, now: Tensor, mode: str = "bicubic") -> tuple[Tensor, Tensor]:
    """A past picture moved to where its parts are now, and where it looked, [N, 1, H, W] bool.

    Args:
        past: [N, C, H, W] float.
        mesh: [N, 2, rows, columns].
        now: like `past`; stands in where the past did not look.
        mode: of the interpolation, "bicubic" or, blurred and eight times as fast, "bilinear".
    """
    height, width = past.shape[2:]
    # The camera's own motion is known on the CPU.
    mesh = mesh.to(past.device)
    fine = F.interpolate(mesh, (height, width), mode="bilinear", align_corners=False)
    y = torch.arange(height, device=mesh.device)[:, None] + fine[:, 0]
    x = torch.arange(width, device=mesh.device) + fine[:, 1]
    inside = (y >= -0.5) & (y <= height - 0.5) & (x >= -0.5) & (x <= width - 0.5)
    points = torch.stack(((x + 0.5) * (2 / width) - 1, (y + 0.5) * (2 / height) - 1), dim=-1)
    picture = _sampled(past, points, mode)
    return torch.where(inside[:, None], picture, now), inside[:, None]


def _sampled(past: Tensor, points: Tensor, mode: str) -> Tensor:
    """`grid_sample`, on all cores: they share out nothing but the batch, so of one picture
    bands of rows are a batch."""
    n, height, width, _ = points.shape
    bands = math.gcd(height, BANDS) if n == 1 else 1
    picture = F.grid_sample(
        past.expand(n * bands, -1, -1, -1),
        points.view(n * bands, height // bands, width, 2),
        mode,
        padding_mode="border",
        align_corners=False,
    )
    rows = picture.view(n, bands, -1, height // bands, width)
    return rows.transpose(1, 2).reshape(n, -1, height, width)


def _starts(side: int) -> list[int]:
    """Where blocks begin whose middles are spread evenly."""
    count = max(1, round(side / (0.66 * BLOCK_PX)))
    middles = [(i + 0.5) * side / count for i in range(count)]
    return [min(max(0, round(m - BLOCK_PX / 2)), side - BLOCK_PX) for m in middles]
