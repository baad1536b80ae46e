"""How much synthetic rain is like real rain: `python -m sapnet_training.rain_report OUT.png`.

Reads the pairs in `$SAPNET_DATA/train`, rains on their clean halves, and compares what
both kinds of rain add: histogram, direction, spectrum, and how far a streak is like itself.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sapnet_training.chart import Box, Points, draw_chart
from sapnet_training.command import command
from sapnet_training.pairs import find_pairs, read_pair
from sapnet_training.picture_file import save_picture
from sapnet_training.rain import SyntheticRain
from sapnet_training.seeds import seeded
from sapnet_training.sheet import write_sheet
from sapnet_training.train import data_folder
from sapnet_training.training_images import read_masks

COMPARED = {"train/raintrainh_18pairs": "curtain", "train/raintrainl_10pairs": "outdoors"}
"""A set of pairs, and the preset that is fitted to it."""

WINDOW_PX = 64
LEVELS = np.linspace(-0.3, 1.0, 66)
DIRECTIONS = np.arange(-90, 91, 10)
FREQUENCIES = np.linspace(0.02, 0.5, 17)
LAGS_PX = 24
CHART_PX = (260, 200)
CHARTS = 5
LOGARITHMIC = (0, 2)


@dataclass(frozen=True)
class RainStatistics:
    """Of rainy - clean on luma, the mean over a set.

    Attributes:
        histogram: share of the pixels per interval of `LEVELS`.
        directions: share of the power of 0.08 to 0.4 cycles per pixel in streaks that lean so
            many degrees from upright, per interval of `DIRECTIONS`.
        spectrum: power per interval of `FREQUENCIES`, cycles per pixel.
        length: correlation with itself 0 to 24 pixels further along the main direction.
        width: likewise across it.
    """

    histogram: np.ndarray
    directions: np.ndarray
    spectrum: np.ndarray
    length: np.ndarray
    width: np.ndarray

    def charts(self) -> dict[str, Points]:
        """A line for each."""
        return {
            "rainy - clean": _points(LEVELS[1:], self.histogram),
            "degrees from upright": _points(DIRECTIONS[1:] - 5, self.directions),
            "spectrum, cycles per pixel": _points(FREQUENCIES[1:], self.spectrum),
            "like itself along, pixels": _points(np.arange(LAGS_PX), self.length),
            "like itself across, pixels": _points(np.arange(LAGS_PX), self.width),
        }

    def distance(self, other: "RainStatistics") -> dict[str, float]:
        """Total variation of the histograms; mean gap of log10 power and of correlations."""
        power = np.log10(self.spectrum) - np.log10(other.spectrum)
        return {
            "histogram": float(np.abs(self.histogram - other.histogram).sum() / 2),
            "directions": float(np.abs(self.directions - other.directions).sum() / 2),
            "spectrum": float(np.abs(power).mean()),
            "length": float(np.abs(self.length - other.length).mean()),
            "width": float(np.abs(self.width - other.width).mean()),
        }


def statistics(added: list[Tensor]) -> RainStatistics:
    """Of rainy - clean images, [3, H, W] float each; those that are all zero are left out."""
    each = [_one(image) for image in added if image.any()]
    return RainStatistics(*(np.mean(column, axis=0) for column in zip(*each, strict=True)))


def _one(added: Tensor) -> tuple[np.ndarray, ...]:
    weight = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    grey = (added * weight).sum(0)
    histogram = np.histogram(grey.clamp(LEVELS[0], LEVELS[-1]), LEVELS)[0] / grey.numel()
    windows = grey.unfold(0, WINDOW_PX, WINDOW_PX // 2).unfold(1, WINDOW_PX, WINDOW_PX // 2)
    windows = windows - windows.mean((2, 3), keepdim=True)
    hann = torch.hann_window(WINDOW_PX, periodic=False)
    waves = torch.fft.fft2(windows * hann * hann[:, None], norm="ortho")
    power = waves.abs().square().mean((0, 1)).numpy()
    y, x = np.meshgrid(*(np.fft.fftfreq(WINDOW_PX),) * 2, indexing="ij")
    radius = np.hypot(y, x)
    # A streak's power lies across it: a frequency along x is an upright streak.
    lean = (np.degrees(np.arctan2(-y, x)) + 90) % 180 - 90
    band = (radius > 0.08) & (radius < 0.4)
    directions = np.histogram(lean[band], DIRECTIONS, weights=power[band])[0]
    counts = np.maximum(np.histogram(radius, FREQUENCIES)[0], 1)
    spectrum = np.histogram(radius, FREQUENCIES, weights=power)[0] / counts
    main = np.radians(DIRECTIONS[directions.argmax()] + 5)
    own = np.fft.ifft2(power).real
    lags = np.arange(LAGS_PX)
    along, across = (
        own[np.rint(lags * dy).astype(int), np.rint(lags * dx).astype(int)] / own[0, 0]
        for dy, dx in ((np.cos(main), np.sin(main)), (-np.sin(main), np.cos(main)))
    )
    return histogram, directions / directions.sum(), spectrum, along, across


def _points(x: np.ndarray, y: np.ndarray) -> Points:
    return list(zip(x.tolist(), y.tolist(), strict=True))


def compare(source: str, preset: str, root: Path) -> tuple[list[Tensor], list[RainStatistics]]:
    """A set of pairs beside a preset on its clean halves.

    Returns:
        A real and a synthetic rainy image of one scene, uint8; the statistics of both.
    """
    pairs = [read_pair(pair).float() / 255 for pair in find_pairs(source, root)]
    rain = SyntheticRain({preset: 1.0}, read_masks(root / "train" / "garg_streaks_207"))
    generator = seeded("rain report", preset)
    fallen = [rain(pair[None, 3:], generator) for pair in pairs]
    real = [pair[:3] - pair[3:] for pair in pairs]
    synthetic = [(rainy - target)[0] for rainy, target in fallen]
    shown = len(pairs) // 3
    images = [pairs[shown][:3], fallen[shown][0][0]]
    return [(image * 255).byte() for image in images], [statistics(real), statistics(synthetic)]


def write_report(path: Path, root: Path, looks: Path | None = None) -> str:
    """A row of charts for each set, and the distances as text.

    Args:
        path: of the picture.
        root: folder of the data.
        looks: folder for a sheet of two rainy images for each set, to look at: pictures of
            the sets themselves, which are not ours to publish.
    """
    picture = Image.new("RGB", (CHARTS * CHART_PX[0], len(COMPARED) * CHART_PX[1]), "white")
    draw = ImageDraw.Draw(picture)
    lines = []
    for row, (source, preset) in enumerate(COMPARED.items()):
        name = Path(source).name
        images, (real, synthetic) = compare(source, preset, root)
        if looks is not None:
            write_sheet(looks / f"{preset}.png", dict(zip((name, preset), images, strict=True)))
        for column, (title, points) in enumerate(real.charts().items()):
            box = Box(CHART_PX[0] * column, CHART_PX[1] * row, *CHART_PX)
            both = {name: points, preset: synthetic.charts()[title]}
            draw_chart(draw, box, title, both, logarithmic=column in LOGARITHMIC)
        gaps = ", ".join(f"{k} {v:.3f}" for k, v in real.distance(synthetic).items())
        lines.append(f"{preset} against {source}: {gaps}")
    save_picture(picture, path)
    return "\n".join(lines)


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sapnet_training.rain_report")
    parser.add_argument("picture", type=Path, metavar="OUT.png")
    parser.add_argument("--looks", type=Path, metavar="FOLDER", help="real and synthetic images")
    options = parser.parse_args()
    print(write_report(options.picture, data_folder(), options.looks))


if __name__ == "__main__":
    sys.exit(main())
