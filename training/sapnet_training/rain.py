"""Synthetic rain on photographs and on consecutive frames.

Rain is a grey layer of streaks over the scene, as in the benchmarks this is measured on
(rainy - clean in RainTrainH has no colour and is never negative; here, where a preset has them,
spray darkens what is brighter than it, and compression may darken a pixel beside a streak):
`rainy = clean + streaks · (1 - opacity · clean)`. Streaks are drops convolved with a line
(the path a drop falls during the exposure), or rendered streak masks (Garg and Nayar 2006).

Shapes: N batch, T consecutive frames, C channels, H height, W width, L streak layers,
K drops of a layer, M masks.
"""

import argparse
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from sapnet_stream.errors import UsageError
from sapnet_training.clip import moving_camera, photographs, write_video
from sapnet_training.command import command
from sapnet_training.jpeg import compress
from sapnet_training.levels import to_8_bits
from sapnet_training.rain_presets import PRESETS, RainPreset
from sapnet_training.streaks import MAX_STREAK_PX, Drops, StreakShape, mask_parts

_FIELDS = tuple(field.name for field in fields(RainPreset))


class _Draw:
    """Random numbers of one batch: preset ranges per sample, on the generator's device."""

    def __init__(self, shares: Tensor, ranges: Tensor, n: int, generator: torch.Generator) -> None:
        self.n = n
        self.generator = generator
        self.device = generator.device
        preset = torch.multinomial(shares.to(self.device), n, True, generator=generator)
        self._ranges = ranges.to(self.device)[preset]

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, device=self.device, generator=self.generator)

    def normal(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, device=self.device, generator=self.generator)

    def field(self, name: str, columns: int) -> Tensor:
        """[N, columns] draws of a preset's field."""
        low, high = self._ranges[:, _FIELDS.index(name)].unbind(1)
        return low[:, None] + (high - low)[:, None] * self.uniform(self.n, columns)

    def sample(self, name: str) -> Tensor:
        """One draw per sample, [N, 1, 1, 1, 1]."""
        return self.field(name, 1)[:, :, None, None, None]

    def first(self, name: str, columns: int) -> Tensor:
        """1 in the first drawn number of columns, else 0, [N, columns]."""
        return (torch.arange(columns, device=self.device) < self.field(name, 1).floor()).float()


def check_mixture(mixture: dict[str, float], *, masked: bool) -> None:
    """Make sure that it rains.

    Args:
        mixture: preset name to its share of the samples.
        masked: whether rendered streaks are at hand.

    Raises:
        UsageError: an unknown preset, no share above zero, or a preset without the masks it needs.
    """
    for name in mixture:
        if name not in PRESETS:
            raise UsageError(f"rain preset {name!r} is none of {', '.join(PRESETS)}")
        if not masked and PRESETS[name].needs_masks:
            raise UsageError(f"the rain {name!r} is drawn from masks: name a folder of them")
    if not mixture or min(mixture.values()) < 0 or sum(mixture.values()) <= 0:
        raise UsageError(f"rain mixture needs shares >= 0 and one above, got {mixture}")


class SyntheticRain:
    """Rain from a weighted mixture of presets, the same for the same generator state.

    Args:
        mixture: preset name to its share of the samples.
        masks: rendered streaks, [M, H, W] uint8, or None.

    Raises:
        UsageError: see `check_mixture`.
    """

    def __init__(self, mixture: dict[str, float], masks: Tensor | None = None) -> None:
        check_mixture(mixture, masked=masks is not None)
        chosen = [PRESETS[name] for name in mixture]
        self._layers = max(int(preset.layers[1]) for preset in chosen)
        self._mask_count = max(int(preset.masks[1]) for preset in chosen)
        self._shares = torch.tensor(list(mixture.values()), dtype=torch.float64)
        self._ranges = torch.tensor(
            [[getattr(preset, field) for field in _FIELDS] for preset in chosen]
        )
        self._masks = masks
        self._stored = any(preset.jpeg[0] <= 100 for preset in chosen)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rain on photographs.

        Args:
            clean: [N, 3, H, W] float RGB in [0, 1].
            generator: of the device `clean` is on.

        Returns:
            The rainy images and what a derainer should make of them, shaped like `clean`,
            both quantised to 8 bits as files are.
        """
        rainy, target = self.fall(clean[:, None], generator)
        return rainy[:, 0], target[:, 0]

    def fall(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same on N clips of T consecutive frames, [N, T, 3, H, W]: the drops fall on.

        Masks keep their direction and strength, and change their place from frame to frame.
        """
        n, frames, _, height, width = clean.shape
        draw = _Draw(self._shares, self._ranges, n, generator)
        streaks = self._streaks(draw, frames, height, width)[:, :, None]
        target = to_8_bits(clean + draw.sample("grain") * draw.normal(clean.shape))
        veil = draw.sample("veil")
        scene = target * (1 - veil) + draw.sample("airlight") * veil
        rainy = scene + streaks * (1 - draw.sample("opacity") * scene)
        if self._stored:
            quality = draw.field("jpeg", 1).expand(n, frames).flatten()
            rainy, target = _stored(rainy, quality), _stored(target, quality)
        return to_8_bits(rainy), target

    def _streaks(self, draw: _Draw, frames: int, height: int, width: int) -> Tensor:
        """Brightness of all streaks, [N, T, H, W]."""
        streaks = torch.zeros(draw.n, frames, height, width, device=draw.device)
        if self._layers:
            streaks += self._drops(draw, frames, height, width)
        if self._mask_count and self._masks is not None:
            choice = draw.uniform(draw.n, self._mask_count, 4)
            gain = draw.field("mask_gain", self._mask_count) * draw.first("masks", self._mask_count)
            for frame in range(frames):
                if frame:  # drops too fast to be followed: another place of the same mask
                    choice[..., 1:3] = draw.uniform(draw.n, self._mask_count, 2)
                parts = mask_parts(self._masks, choice, height, width)
                streaks[:, frame] += (parts * gain[..., None, None]).sum(1)
        return streaks.clamp(0, 1)

    def _drops(self, draw: _Draw, frames: int, height: int, width: int) -> Tensor:
        layers = self._layers
        angle = torch.deg2rad(draw.field("slant", 1) + draw.field("spread", layers))
        depth = draw.field("depth", layers)
        length, across = draw.field("length", layers) / depth, draw.field("width", layers) / depth
        shape = StreakShape(angle, length, across, draw.field("hardness", layers))
        strength = draw.field("brightness", layers) * draw.first("layers", layers) / depth
        # The shutter is open for a part of the frame's time: a drop falls further than its streak.
        speed = length / (0.4 + 0.4 * draw.uniform(draw.n, 1))
        velocity = torch.stack((speed * angle.cos(), speed * angle.sin()), dim=-1)
        size = (height + MAX_STREAK_PX, width + MAX_STREAK_PX)
        count = draw.field("density", layers) * depth.square() * size[0] * size[1] / 1000
        most = max(1, int(count.max().item()))
        brightness = 0.2 + 0.8 * draw.uniform(draw.n, layers, most)
        brightness *= torch.arange(most, device=draw.device) < count[..., None]
        drops = Drops(draw.uniform(draw.n, layers, most, 2), brightness * strength[..., None], size)
        spectrum = shape.spectrum(size)
        out = [
            drops.streaks(spectrum, frame * velocity, whole_pixels=frames == 1)
            for frame in range(frames)
        ]
        return torch.stack(out, dim=1)[..., :height, :width]


def _stored(images: Tensor, quality: Tensor) -> Tensor:
    """[N, T, 3, H, W] as files of a quality hold them, [N T]; above 100, as they are."""
    flat = to_8_bits(images).flatten(0, 1)
    files = torch.where((quality <= 100)[:, None, None, None], compress(flat, quality), flat)
    return to_8_bits(files).view_as(images)


def _clip(seconds: float, fps: Fraction, height: int, width: int, seed: int) -> Iterator[Tensor]:
    """Rainy and clean scenes of about a second, one photograph each, [2, T, 3, H, W]."""
    rain = SyntheticRain({"shower": 1.0})
    scenes = max(1, round(seconds))
    total = max(1, round(seconds * fps))
    images = photographs()
    for scene in range(scenes):
        frames = total * (scene + 1) // scenes - total * scene // scenes
        clean = moving_camera(images[scene % len(images)], frames, height, width)
        generator = torch.Generator().manual_seed(seed + scene)
        yield torch.cat(rain.fall(clean[None], generator))


@command
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sapnet_training.rain",
        description="Writes a clip of a moving camera in falling rain.",
    )
    parser.add_argument("output", type=Path, metavar="OUT.mp4")
    parser.add_argument("--clean", type=Path, metavar="FILE", help="the same clip without rain")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--size", default="320x180", metavar="WxH", help="even pixels")
    parser.add_argument("--fps", default="25")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    width, height = _size(options.size)
    fps = _rate(options.fps)
    if not 0 < options.seconds < math.inf:
        raise UsageError(f"--seconds must be above 0, got {options.seconds}")
    scenes = list(_clip(options.seconds, fps, height, width, options.seed))
    rainy, clean = torch.cat(scenes, dim=1)
    write_video(options.output, rainy, fps)
    if options.clean:
        write_video(options.clean, clean, fps)


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise UsageError(f"--fps is a number above 0 or a fraction, as 30000/1001, got {text!r}")
    return rate


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(size) < 16 or size[0] % 2 or size[1] % 2:
        raise UsageError(f"--size is WIDTHxHEIGHT, both even and at least 16, got {text!r}")
    return size


if __name__ == "__main__":
    sys.exit(main())
