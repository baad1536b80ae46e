"""Planes to RGB, and a change in RGB back onto the planes it came from.

The network sees RGB but the file keeps its planes: only the network's *change* (output −
input) is converted, by the matrix alone, and added to the source samples. A zero change
returns them bit for bit at every matrix, range, subsampling and bit depth, while a full
Y'CbCr -> RGB -> Y'CbCr round trip clips three quarters of the legal codes.

Equations: ITU-T H.273 section 8.3. Shapes: H height, W width.
"""

from collections.abc import Iterator
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_stream.triton_device import has_triton
from sapnet_stream.video.frame import Colour, Frame, PixelLayout
from sapnet_stream.video.pq import gamma_from_pq, pq_change

# On a CPU the conversions go through the picture in bands whose intermediates stay in cache;
# a multiple of every chroma height.
_BAND_ROWS = 128


def to_rgb(frame: Frame, device: torch.device | None = None) -> Tensor:
    """The picture as [1, 3, H, W] float32 R'G'B' in [0, 1] on `device` (default: the CPU).

    Chroma is repeated, not interpolated; colours outside RGB are clipped, which the source
    planes never see. PQ is shown as a gamma signal (`gamma_from_pq`), alpha not at all.
    """
    device = device or torch.device("cpu")
    if _has_kernels(frame):
        from sapnet_kernels.yuv420_to_rgb import yuv420_to_rgb

        seen: Tensor = yuv420_to_rgb(*frame.colour_planes, *_coding(frame))
        return seen[None].to(device)
    rgb = torch.empty(1, 3, frame.height, frame.width, device=device)
    for band in _bands(frame, device):
        rgb[0, :, band[0][1]] = _seen(frame, band, device)
    return rgb


def add_change(frame: Frame, change: Tensor) -> Frame:
    """`frame` with a change in RGB added to its planes, in the source's codes.

    Args:
        frame: as it was decoded.
        change: [1, 3, H, W] float32, of what `to_rgb` returned; any device.

    Returns:
        A frame of the same layout, its planes where they were, samples rounded and held inside
        the code range; alpha is the source's.
    """
    kept = frame.planes[len(frame.colour_planes) :]
    if _has_kernels(frame):
        from sapnet_kernels.rgb_residual_to_yuv420 import rgb_residual_to_yuv420

        planes = frame.colour_planes
        return frame.with_planes(
            (*rgb_residual_to_yuv420(change[0], *planes, *_coding(frame)), *kept)
        )
    most = 2**frame.layout.bits - 1
    changed = [torch.empty_like(plane) for plane in frame.colour_planes]
    for band in _bands(frame, change.device):
        part = change[0, :, band[0][1]]
        if frame.colour.pq:
            part = pq_change(_seen(frame, band, change.device), part)
        deltas = _deltas(part, frame.layout, frame.colour)
        for target, (plane, rows), delta in zip(changed, band, deltas, strict=True):
            target[rows] = delta.to(plane.device).add_(plane[rows]).round_().clamp_(0, most)
    return frame.with_planes((*changed, *kept))


def _has_kernels(frame: Frame) -> bool:
    """Whether kernels on the planes' own device convert in one pass each."""
    layout = frame.layout
    halved = (layout.model, layout.chroma_rows, layout.chroma_columns) == ("yuv", 2, 2)
    return halved and not frame.colour.pq and has_triton(frame.planes[0].device)


def _coding(frame: Frame) -> tuple[float, float, int, bool]:
    colour = frame.colour
    return colour.kr, colour.kb, frame.layout.bits, colour.full_range


def _seen(frame: Frame, band: list[tuple[Tensor, slice]], device: torch.device) -> Tensor:
    """A band as [3, rows, W] R'G'B' in [0, 1], a gamma signal."""
    planes = [plane[rows].to(device).float() for plane, rows in band]
    rgb = _rgb(planes, frame.layout, frame.colour).clamp_(0, 1)
    return gamma_from_pq(rgb) if frame.colour.pq else rgb


def _bands(frame: Frame, device: torch.device) -> Iterator[list[tuple[Tensor, slice]]]:
    """Each plane of colour with its rows of a horizontal band, luma first, from the top."""
    step = _BAND_ROWS if device.type == "cpu" else frame.height
    for top in range(0, frame.height, step):
        bottom = min(top + step, frame.height)
        each = [1, *[frame.layout.chroma_rows] * (len(frame.colour_planes) - 1)]
        yield [
            (plane, slice(top // rows, -(-bottom // rows)))
            for plane, rows in zip(frame.colour_planes, each, strict=True)
        ]


def _rgb(planes: list[Tensor], layout: PixelLayout, colour: Colour) -> Tensor:
    """[3, H, W] of float planes in the source's codes, which may be overwritten."""
    offset, luma_scale, chroma_scale = _codes(layout, colour)
    luma = planes[0]
    if layout.model == "gray":
        return luma.sub_(offset).div_(luma_scale)[None].repeat(3, 1, 1)
    if layout.model == "rgb":
        green, blue, red = (plane.sub_(offset).div_(luma_scale) for plane in planes)
        return torch.stack((red, green, blue))
    chroma = torch.stack(planes[1:]).sub_(2 ** (layout.bits - 1)).div_(chroma_scale)
    # Mixing at chroma resolution first, black's code included, leaves one addition per
    # full-resolution sample.
    mixed = torch.einsum("kc,chw->khw", _rgb_from_chroma(colour, luma.device), chroma)
    mixed -= offset / luma_scale
    # By whole samples: a last one that is cut short must not stretch the others.
    steps = (float(layout.chroma_rows), float(layout.chroma_columns))
    rgb = F.interpolate(mixed[None], scale_factor=steps, mode="nearest")[0]
    return rgb[:, : luma.shape[0], : luma.shape[1]].add_(luma, alpha=1 / luma_scale)


def _deltas(change: Tensor, layout: PixelLayout, colour: Colour) -> list[Tensor]:
    """What a change [3, H, W] adds to each plane, in the source's codes."""
    _, luma_scale, chroma_scale = _codes(layout, colour)
    if layout.model == "rgb":
        red, green, blue = change * luma_scale
        return [green, blue, red]
    weights = _ycbcr_from_rgb(colour)
    deltas = [_mix(change, weights[0], luma_scale)]
    if layout.model == "yuv":
        small = _shrink(change, layout.chroma_rows, layout.chroma_columns)
        deltas += [_mix(small, row, chroma_scale) for row in weights[1:]]
    return deltas


def _codes(layout: PixelLayout, colour: Colour) -> tuple[float, float, float]:
    """Code of black, and the codes that full luma and full chroma swing span."""
    if colour.full_range or layout.model == "rgb":
        most = float(2**layout.bits - 1)
        return 0.0, most, most
    unit = 2.0 ** (layout.bits - 8)
    return 16 * unit, 219 * unit, 224 * unit


def _ycbcr_from_rgb(colour: Colour) -> list[tuple[float, float, float]]:
    """Rows Y', Cb, Cr over columns R', G', B'."""
    kr, kb = colour.kr, colour.kb
    kg = 1 - kr - kb
    blue, red = 2 * (1 - kb), 2 * (1 - kr)
    return [
        (kr, kg, kb),
        (-kr / blue, -kg / blue, 0.5),
        (0.5, -kg / red, -kb / red),
    ]


@lru_cache(maxsize=16)
def _rgb_from_chroma(colour: Colour, device: torch.device) -> Tensor:
    """[3, 2]: what Cb and Cr add to R', G', B' at equal Y'."""
    kr, kb = colour.kr, colour.kb
    kg = 1 - kr - kb
    blue, red = 2 * (1 - kb), 2 * (1 - kr)
    rows = [[0.0, red], [-kb / kg * blue, -kr / kg * red], [blue, 0.0]]
    # Sent once: each time, the host would wait for the device. It outlives the inference.
    with torch.inference_mode(False):
        return torch.tensor(rows).to(device)


def _mix(rgb: Tensor, weights: tuple[float, float, float], scale: float) -> Tensor:
    red, green, blue = (weight * scale for weight in weights)
    return torch.mul(rgb[0], red).add_(rgb[1], alpha=green).add_(rgb[2], alpha=blue)


def _shrink(change: Tensor, rows: int, columns: int) -> Tensor:
    """Averages of `rows` x `columns` blocks of [3, H, W]; the last ones may be smaller."""
    short, narrow = -change.shape[1] % rows, -change.shape[2] % columns
    if short or narrow:
        # Repeating the edge makes a smaller block's average its own.
        change = F.pad(change[None], (0, narrow, 0, short), mode="replicate")[0]
    # Sums of strided slices run several times faster than pooling on a CPU.
    if rows > 1:
        change = sum((change[:, row::rows] for row in range(1, rows)), start=change[:, ::rows])
        change = change / rows
    if columns > 1:
        parts = (change[:, :, column::columns] for column in range(1, columns))
        change = sum(parts, start=change[:, :, ::columns]) / columns
    return change
