"""How the parts of a picture have moved since another one, and pictures moved back.

A mesh is [N, 2, rows, columns]: how many pixels (y, x) further on, in the past picture, lies
what the middle of that part of the picture shows now. None means that nothing has moved.

Shapes: C channels, H height, W width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

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
    window, low_pass = _window_and_low_pass(height, width, share, pictures.device)
    centred = pictures - pictures.mean((-2, -1), keepdim=True)
    spectrum = torch.fft.rfft2(centred * window)
    phases: Tensor = spectrum * (low_pass / spectrum.abs().clamp(min=1e-9))
    return phases


@lru_cache(maxsize=64)
def _window_and_low_pass(
    height: int, width: int, share: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    # They outlive the inference that first asks for them, and streams of a GPU share them: a copy
    # from the CPU is there when it returns, what a stream computes is not yet there for another.
    with torch.inference_mode(False):
        window = torch.hann_window(height, False)[:, None] * torch.hann_window(width, False)
        fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
        low_pass = torch.exp(-(share**2) * (fy**2 + fx**2) / (2 * PASS_BAND**2))
        return window.to(device), low_pass.to(device)


def correlation_peaks(surface: Tensor) -> tuple[Tensor, Tensor]:
    """Of [n, h, w] phase correlations: [2, n] as (y, x) to a part of a pixel, and [n] heights.

    A height of 1 is a perfect match.
    """
    n, height, width = surface.shape
    top, index = surface.flatten(1).max(1)
    y, x = index // width, index % width
    rows = torch.stack((y - 1, y + 1, y, y)) % height
    columns = torch.stack((x, x, x - 1, x + 1)) % width
    around = surface[torch.arange(n, device=surface.device), rows, columns]
    middle = top.clamp(min=1e-6).log()
    low, high = around.clamp(min=1e-6).log().view(2, 2, n).unbind(1)
    curve = low - 2 * middle + high
    part = torch.where(curve < 0, 0.5 * (low - high) / curve.clamp(max=-1e-6), 0.0)
    y, x = y + part[0], x + part[1]
    y, x = torch.where(y > height / 2, y - height, y), torch.where(x > width / 2, x - width, x)
    return torch.stack((y, x)), top / (2 * math.pi * PASS_BAND**2)


def mesh_between(now: View, then: View, factor: int) -> Mesh:
    """How the parts of the picture have moved since `then`, None if they have not.

    Args:
        factor: pixels per pixel of the small pictures.
    """
    return meshes_between(now, [then], factor) if has_moved(now, then) else None


def has_moved(now: View, then: View) -> bool:
    """Whether the camera has."""
    return max(abs(side) for side in _shift(now, then)) >= STILL_PX


def _shift(now: View, then: View) -> Position:
    return now.position[0] - then.position[0], now.position[1] - then.position[1]


def meshes_between(now: View, thens: Sequence[View], factor: int) -> Tensor:
    """How the parts of the picture have moved since each of `thens`, [N, 2, rows, columns].

    At once: on a GPU what counts is how often something is asked for.

    Args:
        thens: one or more, all of which have moved.
        factor: pixels per pixel of the small pictures.
    """
    shifts = [_shift(now, then) for then in thens]
    phases = [then.phases for then in thens if then.phases is not None]
    if now.phases is None or len(phases) < len(thens):
        return torch.tensor(shifts).view(-1, 2, 1, 1)
    rows, columns = now.phases.shape[:2]
    # Filled in there: a copy from here would wait for the device.
    sides = [[now.phases.new_full((1,), side, dtype=torch.float32) for side in s] for s in shifts]
    camera = torch.stack([torch.stack(side) for side in sides], dim=1)
    size = (BLOCK_PX, BLOCK_PX)
    spectra = torch.stack(phases) * now.phases.conj()
    surfaces = torch.fft.irfft2(spectra.flatten(0, 2), s=size)
    local, peak = correlation_peaks(surfaces)
    local, peak = local.view(2, len(thens), -1), peak.view(len(thens), -1)
    blocks = surfaces.view(len(thens), -1, *size)
    places = [[round(side / factor) % BLOCK_PX for side in shift] for shift in shifts]
    there = torch.stack([block[:, y, x] for block, (y, x) in zip(blocks, places, strict=True)])
    expected = there / (2 * math.pi * PASS_BAND**2)
    near = (local - camera / factor).abs().amax(0) < NEAR_PX
    sure = (peak > SURE_PEAK) & (near | (expected < 0.5 * peak))
    mesh = torch.where(sure, local * factor, camera).view(-1, 1, rows, columns)
    around = F.unfold(F.pad(mesh, (1, 1, 1, 1), mode="replicate"), 3)
    return around.median(1).values.view(2, len(thens), rows, columns).transpose(0, 1)


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
    # The camera's own motion is known on the CPU.
    points = _points(mesh.to(past.device), past.shape[2], past.shape[3])
    inside = points.abs().amax(-1)[:, None] <= 1
    return torch.where(inside, _sampled(past, points, mode), now), inside


def _points(mesh: Tensor, height: int, width: int) -> Tensor:
    """Where to look, as `grid_sample` counts: (x, y) from -1 to 1, [N, H, W, 2]."""
    sides = [(width, 1), (height, 0)]
    steps = torch.stack([mesh[:, axis] * (2 / side) for side, axis in sides], dim=1)
    fine = F.interpolate(steps, (height, width), mode="bilinear", align_corners=False)
    across, down = (
        (torch.arange(side, device=mesh.device) * 2 + 1) / side - 1 for side, _ in sides
    )
    return torch.stack((fine[:, 0] + across, fine[:, 1] + down[:, None]), dim=-1)


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
