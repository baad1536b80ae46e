"""Scores a network on pairs of images: `sapnet-eval --weights W --data RAINY:CLEAN`.

One protocol: outputs as uint8, both rounded and truncated (as the published tests do); PSNR
and SSIM on Y of BT.601 and on RGB, see `metrics`; the mean over images, of decibels too.
"""

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from sapnet_stream.errors import InputError, OutputError, SapnetError, UsageError
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.weights import load_network
from sapnet_training.data import image_files, read_image
from sapnet_training.looks import look
from sapnet_training.metrics import luma, psnr, ssim_255
from sapnet_training.perceptual_similarity import TRUNKS, PerceptualSimilarityLoss, lpips_distance
from sapnet_training.sheet import write_sheet


@dataclass(frozen=True)
class Score:
    """PSNR in dB and SSIM, on Y and on RGB, of an image against its clean twin; LPIPS if asked."""

    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float
    lpips: float | None = None


@dataclass(frozen=True)
class Result:
    """One pair: the network's time, and the scores of its input and its output as uint8."""

    image: str
    seconds: float
    rainy: Score
    rounded: Score
    truncated: Score


KINDS = ("rainy", "rounded", "truncated")


def score(image: Tensor, clean: Tensor, metric: PerceptualSimilarityLoss | None = None) -> Score:
    """Of two [3, H, W] uint8 images; `metric` for LPIPS."""
    y, clean_y = luma(image), luma(clean)
    return Score(
        psnr(y, clean_y),
        ssim_255(y, clean_y),
        psnr(image, clean),
        ssim_255(image, clean),
        None if metric is None else lpips_distance(metric, image, clean),
    )


def mean(scores: list[Score]) -> Score:
    """The average the literature prints: of the decibels, not of the errors."""

    def over_images(name: str) -> float:
        return statistics.fmean(getattr(score, name) for score in scores)

    return Score(
        over_images("psnr_y"),
        over_images("ssim_y"),
        over_images("psnr_rgb"),
        over_images("ssim_rgb"),
        over_images("lpips") if all(score.lpips is not None for score in scores) else None,
    )


@torch.no_grad()
def derain(network: SAPNet, image: Tensor, stages: int | None = None) -> Tensor:
    """The output for a [3, H, W] uint8 image: float32 in [0, 255], neither rounded nor cut."""
    output: Tensor = network(image[None].float() / 255, stages)[0]
    return output.clamp(0, 1) * 255


def paired_files(rainy: Path, clean: Path) -> list[tuple[Path, Path]]:
    """Rainy and clean files of one name, in natural order.

    Raises:
        InputError: an empty folder, or a rainy image without a clean one.
    """
    known = {path.stem: path for path in image_files(clean)}
    pairs = []
    for path in image_files(rainy):
        if path.stem not in known:
            raise InputError(f"{clean} has no image named {path.stem}, the twin of {path}")
        pairs.append((path, known[path.stem]))
    return pairs


def evaluate(
    network: SAPNet,
    pairs: Iterable[tuple[Path, Path]],
    stages: int | None = None,
    metric: PerceptualSimilarityLoss | None = None,
    sheets: Path | None = None,
) -> list[Result]:
    """Every pair's result.

    Args:
        network: takes [1, 3, H, W] in [0, 1].
        pairs: rainy and clean files.
        stages: default all.
        metric: for LPIPS.
        sheets: folder for a picture per pair: rainy, derained, clean.

    Raises:
        InputError: an image is unreadable, or a pair differs in size.
        OutputError: a sheet cannot be written.
    """
    results = []
    for rainy_path, clean_path in pairs:
        rainy, clean = read_image(rainy_path), read_image(clean_path)
        if rainy.shape != clean.shape:
            raise InputError(f"{rainy_path} and {clean_path} differ in size")
        began = time.monotonic()
        output = derain(network, rainy, stages)
        seconds = time.monotonic() - began
        rounded, truncated = output.round().to(torch.uint8), output.to(torch.uint8)
        scores = [score(image, clean, metric) for image in (rainy, rounded, truncated)]
        results.append(Result(rainy_path.stem, seconds, *scores))
        if sheets is not None:
            before, after, _ = (f"{s.psnr_y:.2f} dB / {s.ssim_y:.3f}" for s in scores)
            images = {f"rainy {before}": rainy, f"derained {after}": rounded, "clean": clean}
            write_sheet(sheets / f"{rainy_path.stem}.png", images)
    return results


def write_csv(path: Path, results: list[Result]) -> None:
    """A line per pair: its name, seconds, and every score of rainy, rounded and truncated.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = [f"{kind}_{field.name}" for kind in KINDS for field in fields(Score)]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "seconds", *columns])
            for result in results:
                scores = (value for kind in KINDS for value in astuple(getattr(result, kind)))
                writer.writerow([result.image, f"{result.seconds:.4f}", *scores])
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error


def table(results: list[Result]) -> str:
    """The mean scores, and how long the network took."""
    seconds = statistics.median(result.seconds for result in results)
    lines = [f"{len(results)} pairs, {seconds:.3f} s each (median, the network alone)"]
    lines.append(f"{'':20}{'PSNR Y':>8}{'SSIM Y':>8}{'PSNR RGB':>10}{'SSIM RGB':>10}{'LPIPS':>8}")
    names = ("rainy", "derained, rounded", "derained, truncated")
    for name, kind in zip(names, KINDS, strict=True):
        s = mean([getattr(result, kind) for result in results])
        perceptual = "-" if s.lpips is None else f"{s.lpips:.4f}"
        lines.append(
            f"{name:20}{s.psnr_y:8.2f}{s.ssim_y:8.4f}{s.psnr_rgb:10.2f}{s.ssim_rgb:10.4f}"
            f"{perceptual:>8}"
        )
    return "\n".join(lines)


def run(options: argparse.Namespace) -> str:
    """What the command does; the table it prints."""
    rainy, colon, clean = options.data.partition(":")
    if not colon or options.every < 1:
        raise UsageError("--data is RAINY:CLEAN, two folders, and --every at least 1")
    pairs = paired_files(Path(rainy), Path(clean))[:: options.every]
    network = load_network(options.weights)
    metric = None
    if options.lpips is not None:
        metric = PerceptualSimilarityLoss(options.lpips, options.backbone_weights)
    shown = track(pairs, "scoring", console=Console(stderr=True), transient=True)
    results = evaluate(network, shown, options.stages, metric, options.sheets)
    if options.csv is not None:
        write_csv(options.csv, results)
    text = table(results)
    if metric is not None and options.backbone_weights is not None:
        text += "\nLPIPS stands on local weights: compare it within this table only"
    best = mean([result.rounded for result in results])
    looked_at = f"{Path(rainy).name}, every {options.every}, {len(results)} pairs"
    weights = "bundled" if options.weights is None else Path(options.weights).name
    return text + "\n" + look(looked_at, weights, f"{best.psnr_y:.2f} dB / {best.ssim_y:.4f}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="sapnet-eval", description="PSNR, SSIM and LPIPS on pairs of images."
    )
    parser.add_argument("--weights", metavar="NAME_OR_PATH", help="default: the bundled ones")
    parser.add_argument(
        "--data", required=True, metavar="RAINY:CLEAN", help="two folders with files of one name"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth pair")
    parser.add_argument("--stages", type=int, metavar="1-6", help="default: all")
    parser.add_argument("--lpips", choices=TRUNKS, help="score LPIPS too, with this network")
    parser.add_argument(
        "--backbone-weights",
        type=Path,
        metavar="FOLDER",
        help="ImageNet weights for LPIPS, NAME.safetensors; default: torchvision downloads",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a line per image")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER", help="a picture per image")
    try:
        print(run(parser.parse_args()))
    except SapnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
