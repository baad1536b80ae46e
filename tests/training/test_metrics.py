import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sapnet_training.losses import ssim
from sapnet_training.metrics import luma, psnr, ssim_255
from sapnet_training.pairs import find_pairs, read_pair


def test_luma_of_black_white_and_red() -> None:
    colours = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0]], dtype=torch.uint8)
    y = luma(colours.T[:, :, None])
    torch.testing.assert_close(y[0, :, 0], torch.tensor([16.0, 235.0, 81.481]).double())


def test_psnr_of_a_known_error() -> None:
    a = torch.zeros(3, 4, 4, dtype=torch.uint8)
    assert psnr(a, a + 5) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(a, a) == math.inf


def test_ssim_agrees_with_its_definition_window_by_window() -> None:
    generator = np.random.default_rng(0)
    a = generator.integers(0, 256, (12, 14)).astype(float)
    b = np.clip(a + generator.normal(0, 30, a.shape), 0, 255)
    offset = np.arange(11) - 5
    weight = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 1.5**2))
    weight /= weight.sum()
    scores = []
    for top, left in np.ndindex(2, 4):
        x, y = (image[top : top + 11, left : left + 11] for image in (a, b))
        mean_x, mean_y = (weight * x).sum(), (weight * y).sum()
        var_x, var_y = (weight * (x - mean_x) ** 2).sum(), (weight * (y - mean_y) ** 2).sum()
        cov = (weight * (x - mean_x) * (y - mean_y)).sum()
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        scores.append(luminance * (2 * cov + c2) / (var_x + var_y + c2))
    planes = [torch.from_numpy(image)[None] for image in (a, b)]
    assert ssim_255(*planes) == pytest.approx(np.mean(scores), abs=1e-9)


def test_ssim_gradient_agrees_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(1, 1, 12, 13, dtype=torch.float64, generator=generator) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: ssim(x, b), a.requires_grad_())


@pytest.mark.parametrize(
    ("rainy", "every", "psnr_y", "ssim_y"),
    [("rain100l_rainy", 4, 27.24, None), ("rain100h_rainy", 1, 13.56, 0.379)],
)
def test_protocol_reads_the_known_numbers_of_the_rainy_inputs(
    data_dir: Path, rainy: str, every: int, psnr_y: float, ssim_y: float | None
) -> None:
    test = data_dir / "test"
    pairs = find_pairs(f"{rainy}:rain100_clean", test)[::every]
    ys = [[luma(image) for image in read_pair(pair).chunk(2)] for pair in pairs]
    assert sum(psnr(*y) for y in ys) / len(ys) == pytest.approx(psnr_y, abs=0.005)
    if ssim_y is not None:
        assert sum(ssim_255(*y) for y in ys) / len(ys) == pytest.approx(ssim_y, abs=0.0005)
