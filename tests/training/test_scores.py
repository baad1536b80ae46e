import statistics
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sapnet_training.data import read_image
from sapnet_training.derainer import Derained
from sapnet_training.perceptual_similarity import PerceptualSimilarityLoss
from sapnet_training.scores import Score, Scores, mean, score


def random_image(seed: int, height: int = 40, width: int = 48) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def pair(seed: int) -> Derained:
    """Its output is 0.6 of a level above the rainy image."""
    clean = random_image(seed)
    rainy = clean // 2 + 60
    return Derained(str(seed), rainy, clean, {"net": rainy.float() + 0.6}, {"net": float(seed)})


def test_rounded_and_truncated_output_are_both_scored() -> None:
    scores, seen = Scores(), pair(1)
    pictures = scores.add(seen)
    rainy, rounded, truncated = scores.results
    assert rainy.score == truncated.score == score(seen.rainy, seen.clean)
    assert rounded.score == score(seen.rainy + 1, seen.clean)
    assert (rainy.method, rainy.seconds) == ("rainy", None)
    assert (rounded.method, rounded.seconds) == ("net, rounded", 1.0)
    assert truncated.method == "net, truncated"
    assert torch.equal(list(pictures.values())[1], seen.rainy + 1)
    assert list(pictures)[1].startswith(f"net  {rounded.score.psnr_y:.2f} dB")


def test_table_has_the_means_and_the_median_time() -> None:
    scores = Scores()
    for seed in (1, 2, 9):
        scores.add(pair(seed))
    (line,) = [line for line in scores.table().splitlines() if "net, rounded" in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    of_rounded = [r.score for r in scores.results if r.method == "net, rounded"]
    assert float(cells[1]) == pytest.approx(
        statistics.fmean(s.psnr_y for s in of_rounded), abs=0.005
    )
    assert float(cells[4]) == pytest.approx(
        statistics.fmean(s.ssim_rgb for s in of_rounded), abs=5e-5
    )
    assert cells[5:] == ["-", "2.00"]
    psnr, ssim = cells[1:3]
    assert scores.summary().endswith(f", net {psnr} dB / {ssim}")
    assert len(scores.rows()) == 9 and len(scores.rows()[0]) == len(scores.header)


def test_scores_are_averaged_in_decibels_and_lpips_only_where_all_have_it() -> None:
    scores = [Score(20.0, 0.5, 10.0, 0.25, 0.5), Score(30.0, 0.7, 12.0, 0.75, 0.25)]
    assert mean(scores) == Score(25.0, 0.6, 11.0, 0.5, 0.375)
    assert mean([scores[0], Score(1, 1, 1, 1)]).lpips is None


def test_rgb_ssim_is_the_mean_of_the_channels() -> None:
    a, b = random_image(0), random_image(1)
    channels = [score(a[i : i + 1].repeat(3, 1, 1), b[i : i + 1].repeat(3, 1, 1)) for i in range(3)]
    assert score(a, b).ssim_rgb == pytest.approx(sum(s.ssim_rgb for s in channels) / 3)


def test_lpips_of_an_image_to_itself_is_zero_and_grows(data_dir: Path) -> None:
    pytest.importorskip("lpips", reason="the package that has LPIPS")
    metric = PerceptualSimilarityLoss("squeeze", data_dir / "weights")
    clean = read_image(data_dir / "test" / "rain100_clean" / "norain-1.png")[:, :64, :64]
    noise = random_image(0, 64, 64) // 8
    distances = [score(image, clean, metric).lpips for image in (clean, clean // 2 + noise)]
    assert distances[0] == 0
    assert distances[1] is not None and distances[1] > 0.05
