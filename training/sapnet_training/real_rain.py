"""What deraining does to real rain, whose clean frames nobody has:
`python -m sapnet_training.real_rain FRAMES --weights W …`.

Rain is what stands above both neighbouring frames, moved to where the camera looks now, and
above what lies two pixels around in them: the rest of the camera's motion must not count.
Where there is none, deraining must leave the frame as it is.

Shapes: T consecutive frames, H height, W width.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor

from sapnet_stream.errors import InputError, UsageError
from sapnet_stream.networks.weights import find_weights, load_either
from sapnet_training.command import command
from sapnet_training.data import check_consecutive, image_files, read_frames
from sapnet_training.derainer import RAINY, told_apart
from sapnet_training.sheet import write_sheet
from sapnet_training.table import markdown
from sapnet_training.video_derainer import VideoDerainer, derainer

REACH_PX = 2
MARGIN_PX = 48
"""Border left out, which neighbouring frames may not show."""

REPEATED = 0.5
"""Levels that a frame differs from the last one at least: players' repeats are left out."""

FAINT = 2.0
"""Levels below which a place counts as free of rain."""

SHOWN = 2

# BT.601 limited range, levels per level of R, G, B.
_YCBCR = (
    torch.tensor([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
    / 255
)


@dataclass(frozen=True)
class RealRain:
    """Of a clip after deraining.

    Attributes:
        streaks: root mean square of the luma that stands above both neighbouring frames, in
            8-bit levels, 0 and more: the median over frames, as one in which the camera jumps
            says nothing.
        sharpness: share of the gradients that were in places free of rain and still are: 1
            nothing lost, 0 flat, above 1 sharpened.
        shift: of the mean Y, Cb and Cr of these places, 8-bit levels.
    """

    streaks: float
    sharpness: float
    shift: tuple[float, float, float]


def real_rain(before: Tensor, after: Tensor) -> RealRain:
    """Compares a clip with its derained twin.

    Args:
        before, after: [T, 3, H, W] uint8 RGB, T at least 3, H and W above 2 MARGIN_PX.

    Raises:
        InputError: too few frames, or too small ones.
    """
    if len(before) < 3 or min(before.shape[2:]) <= 2 * MARGIN_PX:
        raise InputError(
            f"real rain needs 3 different frames larger than {2 * MARGIN_PX} pixels, "
            f"got {len(before)} of {before.shape[3]}x{before.shape[2]}"
        )
    was, now = _ycbcr(before), _ycbcr(after)
    energy, sums = [], torch.zeros(6)
    for t in range(1, len(before) - 1):
        moves = [_move(was[n, 0], was[t, 0]) for n in (t - 1, t + 1)]
        energy.append(_passing(now[:, 0], t, moves).square().mean())
        free = _around(_passing(was[:, 0], t, moves)) < FAINT
        old, new = (_gradients(_inner(clip[t, 0])) * free[1:, 1:] for clip in (was, now))
        shift = (_inner(now[t] - was[t]) * free).sum((1, 2))
        sums += torch.stack(((old * new).sum(), old.square().sum(), free.sum(), *shift))
    kept, gradients, places, *shifts = sums.tolist()
    y, cb, cr = (value / max(places, 1) for value in shifts)
    streaks = math.sqrt(torch.stack(energy).median())
    return RealRain(streaks, kept / max(gradients, 1e-9), (y, cb, cr))


def _ycbcr(frames: Tensor) -> Tensor:
    return torch.einsum("yc,tchw->tyhw", _YCBCR, frames.float())


def _move(frame: Tensor, to: Tensor) -> tuple[int, int]:
    """By how many pixels down and right `frame` must go to lie on `to`: phase correlation."""
    window = [torch.hann_window(side, periodic=False) for side in to.shape]
    spectra = [
        torch.fft.rfft2((image - image.mean()) * window[0][:, None] * window[1])
        for image in (to, frame)
    ]
    product = spectra[0] * spectra[1].conj()
    peak = int(torch.fft.irfft2(product / (product.abs() + 1e-6), s=to.shape).argmax())
    place = divmod(peak, to.shape[1])
    down, right = (
        p - side if p > side // 2 else p for p, side in zip(place, to.shape, strict=True)
    )
    # A larger move is no move of a camera that films on, but a failure to find it.
    return (down, right) if max(abs(down), abs(right)) <= MARGIN_PX else (0, 0)


def _passing(luma: Tensor, t: int, moves: list[tuple[int, int]]) -> Tensor:
    """How far frame t of [T, H, W] stands above both neighbours, without the margin."""
    neighbours = [
        _around(torch.roll(luma[n], move, (0, 1)))
        for n, move in zip((t - 1, t + 1), moves, strict=True)
    ]
    return _inner((luma[t] - torch.maximum(*neighbours)).clamp(min=0))


def _around(luma: Tensor) -> Tensor:
    """The brightest within REACH_PX."""
    size = 2 * REACH_PX + 1
    return F.max_pool2d(luma[None, None], size, stride=1, padding=REACH_PX)[0, 0]


def _inner(image: Tensor) -> Tensor:
    return image[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]


def _gradients(luma: Tensor) -> Tensor:
    """Across and down, [2, H - 1, W - 1]."""
    corner = luma[1:, 1:]
    return torch.stack((corner - luma[1:, :-1], corner - luma[:-1, 1:]))


def without_repeats(frames: Tensor) -> Tensor:
    """The frames of [T, 3, H, W] that differ from the last one."""
    changes = (frames[1:].float() - frames[:-1].float()).abs().mean((1, 2, 3))
    return frames[torch.cat((torch.tensor([True]), changes >= REPEATED))]


def derained_clips(derainers: dict[str, VideoDerainer], frames: Tensor) -> dict[str, Tensor]:
    """RAINY, and the clip [T, 3, H, W] uint8 as every derainer leaves it."""
    clips = {RAINY: frames}
    for name, video in derainers.items():
        shown = track(frames, name, console=Console(stderr=True), transient=True)
        clips[name] = torch.stack(list(video(shown)))
    return clips


def table(clips: dict[str, Tensor]) -> str:
    """A line per clip, the first one being what the others are compared with."""
    lines = []
    before = next(iter(clips.values()))
    rain = real_rain(before, before).streaks
    for name, clip in clips.items():
        now = real_rain(before, clip)
        left = f"{(now.streaks / rain) ** 2:.0%}" if rain else "-"
        shift = (f"{value:+.2f}" for value in now.shift)
        lines.append((name, f"{now.streaks:.2f}", left, f"{now.sharpness:.3f}", *shift))
    header = ("", "streaks", "energy left", "sharpness kept", "Y shift", "Cb shift", "Cr shift")
    return markdown(header, lines)


def run(options: argparse.Namespace) -> str:
    """What the command does; the text it prints."""
    if options.frames is not None and options.frames < 1:
        raise UsageError(f"--frames must be 1 or more, got {options.frames}")
    files = image_files(options.folder)[: options.frames]
    check_consecutive(files)
    frames = without_repeats(torch.stack(read_frames(files)))
    sources = options.weights or [None]
    derainers = {
        name: derainer(load_either(find_weights(source)))
        for name, source in zip(told_apart(sources), sources, strict=True)
    }
    clips = derained_clips(derainers, frames)
    if options.sheet is not None:
        first = (len(frames) - SHOWN) // 2
        middle = {name: clip[first : first + SHOWN] for name, clip in clips.items()}
        write_sheet(options.sheet, {name: torch.cat(list(m), 1) for name, m in middle.items()})
    return f"{len(frames)} different frames of {options.folder.name}\n\n{table(clips)}"


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sapnet_training.real_rain")
    parser.add_argument("folder", type=Path, metavar="FRAMES", help="consecutive frames")
    parser.add_argument("--weights", nargs="+", metavar="NAME_OR_PATH")
    parser.add_argument("--frames", type=int, metavar="N", help="the first ones only")
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="two frames in turn, PNG or JPEG"
    )
    print(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
