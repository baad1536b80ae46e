"""Scores of derained images against their clean twins.

One protocol: outputs as uint8, both rounded and truncated (as the published tests do); PSNR
and SSIM on Y of BT.601 and on RGB, see `metrics`; the mean over images, of decibels too.
"""

import statistics
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from torch import Tensor

from sapnet_training.derainer import Derained
from sapnet_training.metrics import luma, psnr, ssim_255
from sapnet_training.perceptual_similarity import PerceptualSimilarityLoss, lpips_distance
from sapnet_training.table import Row, markdown


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
    """An image as one method left it: "rainy" did nothing and took no time."""

    image: str
    method: str
    seconds: float | None
    score: Score


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


def mean(scores: Sequence[Score]) -> Score:
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


class Scores:
    """Collects the scores of "rainy", and of each output as "NAME, rounded" and "…, truncated".

    Args:
        metric: for LPIPS.
    """

    name = "scores"
    header = ("image", "method", "seconds", *(field.name for field in fields(Score)))

    def __init__(self, metric: PerceptualSimilarityLoss | None = None) -> None:
        self._metric = metric
        self.results: list[Result] = []

    def add(self, pair: Derained) -> dict[str, Tensor]:
        """Scores a pair; what to show of it, by caption."""
        pictures = {}
        for name, image in pair.images().items():
            seconds, ways = None, {name: image}
            if name in pair.outputs:
                seconds = pair.seconds[name]
                truncated = pair.outputs[name].byte()
                ways = {f"{name}, rounded": image, f"{name}, truncated": truncated}
            scores = [score(way, pair.clean, self._metric) for way in ways.values()]
            for way, one in zip(ways, scores, strict=True):
                self.results.append(Result(pair.name, way, seconds, one))
            pictures[f"{name}  {scores[0].psnr_y:.2f} dB / {scores[0].ssim_y:.3f}"] = image
        return {**pictures, "clean": pair.clean}

    def rows(self) -> list[Row]:
        """A line per image and method, the columns of `header`."""
        return [(r.image, r.method, r.seconds, *astuple(r.score)) for r in self.results]

    def by_method(self) -> dict[str, list[Result]]:
        """The results of each method, image by image."""
        methods = dict.fromkeys(result.method for result in self.results)
        return {name: [r for r in self.results if r.method == name] for name in methods}

    def summary(self) -> str:
        """Every method's PSNR and SSIM on Y in a few words, outputs rounded."""
        means = {name: mean([r.score for r in own]) for name, own in self.by_method().items()}
        return ", ".join(
            f"{name.removesuffix(', rounded')} {s.psnr_y:.2f} dB / {s.ssim_y:.4f}"
            for name, s in means.items()
            if not name.endswith("truncated")
        )

    def table(self) -> str:
        """The mean scores of each method, and the median of the network's seconds."""
        lines = []
        for method, own in self.by_method().items():
            s = mean([result.score for result in own])
            seconds = [result.seconds for result in own if result.seconds is not None]
            lines.append(
                (
                    method,
                    f"{s.psnr_y:.2f}",
                    f"{s.ssim_y:.4f}",
                    f"{s.psnr_rgb:.2f}",
                    f"{s.ssim_rgb:.4f}",
                    "-" if s.lpips is None else f"{s.lpips:.4f}",
                    f"{statistics.median(seconds):.2f}" if seconds else "-",
                )
            )
        header = ("", "PSNR Y", "SSIM Y", "PSNR RGB", "SSIM RGB", "LPIPS", "seconds")
        return markdown(header, lines)
